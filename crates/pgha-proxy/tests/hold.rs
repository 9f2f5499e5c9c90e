//! Connections that wait, are served later, or are refused.

mod common;

use std::time::Duration;

use common::{Client, Manners, PATIENCE, Rig, Server, is_being_connected_to, soon, startup, until};
use pgha_proxy::Route;

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_plain_client_is_told_why_it_waited_in_vain() {
    let rig = Rig::start();
    rig.hold_for(SHORT);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    let error = client.error().await;
    assert!(
        error.contains("\0C57P03\0") && error.contains("nobody is primary yet"),
        "{error}"
    );
    client.closed().await;
    assert_eq!(rig.count(|stats| &stats.refused_total), 1);
    rig.held(0).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_for_encryption_is_declined_and_then_told() {
    let rig = Rig::start();
    rig.hold_for(SHORT);
    let mut client = Client::connect(rig.read_write).await;
    client.gss_request().await;
    assert_eq!(client.byte().await, b'N');
    client.ssl_request().await;
    assert_eq!(client.byte().await, b'N');
    client.send(&startup()).await;
    assert!(client.error().await.contains("57P03"));
    client.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_insists_on_encryption_is_closed() {
    let rig = Rig::start();
    rig.hold_for(SHORT);
    let mut client = Client::connect(rig.read_write).await;
    client.ssl_request().await;
    assert_eq!(client.byte().await, b'N');
    client.send(&[22, 3, 1, 0, 2, 1, 0]).await;
    client.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_answered_while_held_and_then_the_server_answers() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    assert!(
        client.stream.try_read(&mut [0]).is_err(),
        "answered while held"
    );
    rig.serve(1, server.address);
    client.logged_in().await;
    assert_eq!(client.query("hello").await, "hello");
    rig.held(0).await;
    assert_eq!(rig.gate.sessions(pgha_core::Epoch(1)), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_route_without_an_open_gate_of_its_epoch_holds() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.route(|routes| {
        routes.epoch = pgha_core::Epoch(2);
        routes.read_write = Route::Local {
            postgres: server.address,
        };
    });
    rig.gate.set(common::open(1)).unwrap();
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    assert_eq!(server.connections(), 0);
    rig.gate.set(common::open(2)).unwrap();
    client.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_server_that_fails_before_its_first_answer_is_not_seen_by_the_client() {
    for manners in [Manners::Closes, Manners::ShutsDown] {
        let rig = Rig::start();
        let server = Server::start(manners).await;
        rig.serve(1, server.address);
        let mut client = Client::connect(rig.read_write).await;
        client.send(&startup()).await;
        until("a second try", || server.connections() >= 2).await;
        server.behave(Manners::Normal);
        client.logged_in().await;
        assert!(rig.count(|stats| &stats.attempts_failed_total) >= 2);
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_silent_server_is_left_for_the_next_primary() {
    let rig = Rig::start();
    let silent = Server::start(Manners::Silent).await;
    let good = Server::start(Manners::Normal).await;
    rig.serve(1, silent.address);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    until("the first packet", || silent.packets().len() == 1).await;
    rig.serve(2, good.address);
    client.logged_in().await;
    rig.stop().await;
}

/// As with a host that is gone: no answer to the connection, not even a refusal. A full backlog makes
/// the kernel drop what comes.
#[tokio::test]
async fn an_unreachable_member_is_left_for_the_next_primary() {
    // The end of the attempt by itself is not waited for: only its being left serves the client.
    let rig = Rig::with_limits(|limits| limits.connect_timeout = 10 * PATIENCE);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let unreachable = socket.listen(1).unwrap();
    let address = unreachable.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(100),
        tokio::net::TcpStream::connect(address),
    )
    .await
    {
        filling.push(stream);
    }
    let good = Server::start(Manners::Normal).await;
    rig.forward(1, address);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    until("an attempt", || is_being_connected_to(address)).await;
    rig.serve(2, good.address);
    client.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_client_whose_encryption_was_declined_is_still_moved() {
    let rig = Rig::start();
    let server = Server::start(Manners::DeclinesThenCloses).await;
    rig.serve(1, server.address);
    let mut client = Client::connect(rig.read_write).await;
    client.ssl_request().await;
    assert_eq!(client.byte().await, b'N');
    server.behave(Manners::Normal);
    client.send(&startup()).await;
    client.logged_in().await;
    let packets = server.packets();
    // Request and startup message on the first connection, the startup message alone on the next.
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[1], packets[2]);
    rig.stop().await;
}

#[tokio::test]
async fn declined_encryption_leads_to_a_plain_session() {
    let rig = Rig::start();
    let server = Server::start(Manners::DeclinesEncryption).await;
    rig.serve(1, server.address);
    let mut client = Client::connect(rig.read_write).await;
    client.gss_request().await;
    assert_eq!(client.byte().await, b'N');
    client.ssl_request().await;
    assert_eq!(client.byte().await, b'N');
    client.send(&startup()).await;
    client.logged_in().await;
    assert_eq!(server.connections(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn garbage_and_silence_are_closed() {
    let rig = Rig::with_limits(|limits| limits.startup_timeout = SHORT);
    let garbage: [&[u8]; 3] = [b"GET / HTTP/1.0\r\n\r\n", &[0, 0, 0, 3], &[0x7f; 64]];
    for bytes in garbage {
        let mut client = Client::connect(rig.read_write).await;
        client.send(bytes).await;
        // What is left unread makes the kernel reset: either end is fine, an answer is not.
        assert_eq!(client.rest().await.0, b"");
    }
    let mut slow = Client::connect(rig.read_write).await;
    slow.send(&startup()[..7]).await;
    slow.closed().await;
    until("rejections", || {
        rig.count(|stats| &stats.rejected_total) == 4
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn a_startup_message_may_come_byte_by_byte() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let mut client = Client::connect(rig.read_write).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in startup() {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_held_client_that_leaves_is_forgotten() {
    let rig = Rig::start();
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    drop(client);
    rig.held(0).await;
    until("its end", || rig.count(|stats| &stats.connections_now) == 0).await;
    rig.stop().await;
}

#[tokio::test]
async fn no_more_are_held_than_allowed() {
    let rig = Rig::with_limits(|limits| limits.held_max = 1);
    let mut first = Client::connect(rig.read_write).await;
    first.send(&startup()).await;
    rig.held(1).await;
    let mut second = Client::connect(rig.read_write).await;
    second.send(&startup()).await;
    assert!(second.error().await.contains("others wait already"));
    rig.stop().await;
}

#[tokio::test]
async fn one_address_cannot_take_all_room_by_silence() {
    let rig = Rig::with_limits(|limits| limits.startups_per_address_max = 2);
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let _silent = [
        Client::connect(rig.read_write).await,
        Client::connect(rig.read_write).await,
    ];
    until("both", || rig.count(|stats| &stats.connections_now) == 2).await;
    let mut third = Client::connect(rig.read_write).await;
    third.closed().await;
    assert_eq!(rig.count(|stats| &stats.rejected_total), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_full_port_leaves_connections_in_the_backlog_until_there_is_room() {
    let rig = Rig::with_limits(|limits| limits.connections_max = 1);
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    let first = Client::login(rig.read_write).await;
    let mut second = Client::connect(rig.read_write).await;
    second.send(&startup()).await;
    drop(first);
    second.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn stopping_tells_those_who_wait() {
    let rig = Rig::start();
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    rig.held(1).await;
    rig.shutdown.cancel();
    assert!(client.error().await.contains("57P03"));
    soon(rig.stop()).await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = pgha_proxy::PortsConfig {
        limits: pgha_proxy::Limits::default(),
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let error = pgha_proxy::Ports::bind(any, address, config)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(
        error.contains("read-only") && error.contains("proxy.read_only"),
        "{error}"
    );
}
