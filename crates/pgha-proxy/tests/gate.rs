//! What passes the gate and what does not, seen from both ends of a session.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, Manners, Rig, Server, message, open, soon, startup, until};
use pgha_core::{Epoch, Mono};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn closing_resets_silent_sessions_at_once() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::login(rig.read_write).await);
    }
    rig.gate.close();
    for mut client in clients {
        client.reset().await;
    }
    until("cuts", || rig.count(|stats| &stats.cut_total) == 20).await;
    until("ends", || rig.count(|stats| &stats.sessions_now) == 0).await;
    rig.stop().await;
}

#[tokio::test]
async fn the_deadline_resets_silent_sessions_without_an_order() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::login(rig.read_write).await;
    // A deadline 50 ms ahead, and a clock that has passed it when the timer fires.
    let (hold_at, close_at) = (Mono::from_millis(1010), Mono::from_millis(1050));
    rig.gate.extend(Epoch(1), hold_at, close_at).unwrap();
    rig.gate.hold_new(Epoch(1));
    rig.clock.jump_to(1050);
    client.reset().await;
    rig.stop().await;
}

/// As after a freeze: the clock has jumped and no timer has run yet. The renewal interval of this
/// test is so long that only the check before the write can be what stops the bytes.
#[tokio::test]
async fn after_a_jump_of_the_clock_no_request_reaches_the_server() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::login(rig.read_write).await;
    assert_eq!(client.query("before").await, "before");
    rig.clock.jump_to(120_000);
    client.send(&message(b'Q', b"after")).await;
    client.reset().await;
    assert_eq!(server.queries(), ["before"]);
    assert_eq!(rig.count(|stats| &stats.cut_total), 1);
    rig.stop().await;
}

#[tokio::test]
async fn after_a_jump_of_the_clock_no_reply_reaches_the_client() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::login(rig.read_write).await;
    client.send(&message(b'Q', b"wait")).await;
    until("the query", || server.queries() == ["wait"]).await;
    rig.clock.jump_to(120_000);
    server.answer.notify_one();
    client.reset().await;
    rig.stop().await;
}

#[tokio::test]
async fn after_a_jump_of_the_clock_not_even_a_login_is_answered() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    rig.hold_for(Duration::from_millis(100));
    rig.clock.jump_to(120_000);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    assert!(client.error().await.contains("57P03"));
    assert_eq!(server.connections(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_new_epoch_resets_the_sessions_of_the_old_one() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut old = Client::login(rig.read_write).await;
    rig.serve(2, server.address);
    old.reset().await;
    let mut new = Client::login(rig.read_write).await;
    assert_eq!(new.query("again").await, "again");
    rig.stop().await;
}

#[tokio::test]
async fn renewals_keep_sessions_and_a_late_one_does_not_revive_them() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::login(rig.read_write).await;
    for step in 1..50 {
        let now = 1000 + step * 1000;
        rig.clock.jump_to(now);
        let (hold_at, close_at) = (Mono::from_millis(now + 750), Mono::from_millis(now + 1001));
        rig.gate.extend(Epoch(1), hold_at, close_at).unwrap();
        assert_eq!(client.query("renewed").await, "renewed");
    }
    rig.clock.jump_to(60_000);
    let late = rig.gate.extend(
        Epoch(1),
        Mono::from_millis(70_000),
        Mono::from_millis(80_000),
    );
    assert!(late.is_err());
    client.reset().await;
    rig.stop().await;
}

#[tokio::test]
async fn new_connections_are_held_from_the_hold_time_until_a_renewal() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut established = Client::login(rig.read_write).await;
    rig.clock.jump_to(60_000);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    assert_eq!(established.query("goes on").await, "goes on");
    rig.gate
        .extend(
            Epoch(1),
            Mono::from_millis(90_000),
            Mono::from_millis(150_000),
        )
        .unwrap();
    client.logged_in().await;
    rig.stop().await;
}

/// A server floods a client that does not read; then the gate shuts. What lies in the proxy and
/// in its socket must not be delivered: the stream ends with a reset, far short of what was sent.
#[tokio::test]
async fn replies_not_yet_delivered_are_discarded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start();
    rig.serve(1, listener.local_addr().unwrap());
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    let flood = tokio::spawn(async move {
        let row = message(b'D', &[b'x'; 8000]);
        let mut sent = 0;
        while server.write_all(&row).await.is_ok() {
            sent += row.len();
        }
        sent
    });
    until("a standstill", {
        let stats = Arc::clone(&rig.stats);
        let last = std::sync::Mutex::new((0, std::time::Instant::now()));
        move || {
            let mut last = last.lock().unwrap();
            let now = stats.bytes_to_client_total();
            if now == 0 || now != last.0 {
                *last = (now, std::time::Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(300)
        }
    })
    .await;
    rig.gate.close();
    until("the cut", || rig.count(|stats| &stats.cut_total) == 1).await;
    let sent = soon(flood).await.unwrap();
    let (received, end) = client.rest().await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(received.len() < sent, "{} of {sent} bytes", received.len());
    rig.stop().await;
}

#[tokio::test]
async fn epochs_never_go_back() {
    let rig = Rig::start();
    rig.gate.set(open(3)).unwrap();
    assert!(rig.gate.set(open(2)).is_err());
    assert_eq!(rig.gate.epoch(), Epoch(3));
    rig.stop().await;
}
