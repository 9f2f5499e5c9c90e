//! A planned change of primary, as clients see it.

mod common;

use common::{Client, Manners, Rig, Server, message, startup, until};
use pgha_core::Epoch;

#[tokio::test]
async fn idle_sessions_are_told_and_closed_and_busy_ones_finish_first() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut idle = Client::login(rig.read_write).await;
    let mut transaction = Client::login(rig.read_write).await;
    transaction.query("begin").await;
    let mut waiting = Client::login(rig.read_write).await;
    waiting.send(&message(b'Q', b"wait")).await;
    until("the query", || {
        server.queries().contains(&"wait".to_owned())
    })
    .await;

    assert!(rig.gate.drain_idle(Epoch(1)));
    assert!(idle.error().await.contains("57P01"));
    idle.closed().await;

    assert_eq!(transaction.query("in between").await, "in between");
    assert_eq!(transaction.query("commit").await, "commit");
    assert!(transaction.error().await.contains("57P01"));

    until("the drained ends", || rig.gate.sessions(Epoch(1)) == 1).await;
    server.answer.notify_one();
    assert_eq!(waiting.message().await.0, b'D');
    assert_eq!(waiting.message().await.0, b'Z');
    assert!(waiting.error().await.contains("57P01"));
    until("the last end", || rig.gate.sessions(Epoch(1)) == 0).await;
    assert_eq!(rig.count(|stats| &stats.drained_total), 3);
    assert_eq!(rig.count(|stats| &stats.cut_total), 0);
    rig.stop().await;
}

#[tokio::test]
async fn reconnects_are_held_and_served_by_the_new_primary() {
    let (old, new) = (Rig::start(), Rig::start());
    let servers = [
        Server::start(Manners::Normal).await,
        Server::start(Manners::Normal).await,
    ];
    old.serve(1, servers[0].address);
    let mut client = Client::login(old.read_write).await;
    old.gate.drain_idle(Epoch(1));
    assert!(client.error().await.contains("57P01"));
    let mut again = Client::connect(old.read_write).await;
    again.send(&startup()).await;
    old.held(1).await;
    old.gate.close();
    new.serve(2, servers[1].address);
    old.forward(2, new.read_write);
    again.logged_in().await;
    assert_eq!(again.query("new").await, "new");
    assert_eq!(servers[1].queries(), ["new"]);
    assert_eq!(old.count(|stats| &stats.refused_total), 0);
    old.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn a_login_under_way_is_waited_for_and_then_drained() {
    let rig = Rig::start();
    let server = Server::start(Manners::Challenges).await;
    rig.serve(1, server.address);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    assert_eq!(client.message().await.0, b'R');
    assert_eq!(rig.gate.logins(Epoch(1)), server.peers());

    assert!(rig.gate.drain_idle(Epoch(1)));
    client.send(&message(b'p', b"secret\0")).await;
    client.logged_in().await;
    assert!(client.error().await.contains("57P01"));
    client.closed().await;
    until("the end of the login", || {
        rig.gate.logins(Epoch(1)).is_empty()
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_works_is_no_login() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::login(rig.read_write).await;
    client.query("begin").await;
    assert!(rig.gate.logins(Epoch(1)).is_empty());
    assert_eq!(rig.gate.sessions(Epoch(1)), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_encrypted_counts_as_a_login_to_its_end() {
    let rig = Rig::start();
    let server = Server::start(Manners::AcceptsEncryption).await;
    rig.serve(1, server.address);
    let mut client = Client::connect(rig.read_write).await;
    client.ssl_request().await;
    assert_eq!(client.byte().await, b'S');
    assert!(rig.gate.drain_idle(Epoch(1)));
    assert_eq!(rig.gate.logins(Epoch(1)), server.peers());
    drop(client);
    until("its end", || rig.gate.logins(Epoch(1)).is_empty()).await;
    rig.stop().await;
}

#[tokio::test]
async fn who_was_not_answered_is_served_by_the_new_primary() {
    let (old, new) = (Rig::start(), Rig::start());
    let servers = [
        Server::start(Manners::Silent).await,
        Server::start(Manners::Normal).await,
    ];
    old.serve(1, servers[0].address);
    let mut client = Client::connect(old.read_write).await;
    client.send(&startup()).await;
    until("the startup message", || servers[0].packets().len() == 1).await;
    assert!(old.gate.drain_idle(Epoch(1)));
    old.held(1).await;
    assert_eq!(old.gate.sessions(Epoch(1)), 0);
    assert!(old.gate.logins(Epoch(1)).is_empty());
    old.gate.close();
    new.serve(2, servers[1].address);
    old.forward(2, new.read_write);
    client.logged_in().await;
    old.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn an_aborted_handover_serves_those_who_waited() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    assert!(rig.gate.hold_new(Epoch(1)));
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    assert!(rig.gate.resume(Epoch(1)));
    client.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn stopping_the_ports_says_goodbye_to_the_idle_and_resets_the_busy() {
    let rig = Rig::with_limits(|limits| {
        limits.shutdown_grace = std::time::Duration::from_millis(200);
    });
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut idle = Client::login(rig.read_write).await;
    let mut busy = Client::login(rig.read_write).await;
    busy.query("begin").await;
    rig.stop().await;
    assert!(idle.error().await.contains("57P01"));
    busy.reset().await;
}
