//! Connections that one sidecar takes to another.

mod common;

use std::time::Duration;

use common::{Client, Manners, Rig, Server, message, open, startup, tag, until};
use pgha_core::{ClusterId, Epoch};
use pgha_proxy::{ClusterTag, ForwardKind, Preamble};

fn preamble(epoch: u64) -> Preamble {
    Preamble {
        epoch: Epoch(epoch),
        kind: ForwardKind::ReadWrite,
        cluster: tag(),
    }
}

/// Introduces itself as a sidecar and says the startup message.
async fn introduced(rig: &Rig, preamble: Preamble) -> Client {
    let mut client = Client::connect(rig.read_write).await;
    let mut said = preamble.encode().to_vec();
    said.extend(startup());
    client.send(&said).await;
    client
}

#[tokio::test]
async fn a_client_of_another_member_reaches_the_primary_through_its_gate() {
    let (primary, other) = (Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    primary.serve(1, server.address);
    other.forward(1, primary.read_write);
    let mut client = Client::login(other.read_write).await;
    assert_eq!(client.query("hello").await, "hello");
    assert_eq!(primary.gate.sessions(Epoch(1)), 1);
    assert_eq!(primary.count(|stats| &stats.forwarded_in_total), 1);
    assert_eq!(other.count(|stats| &stats.forwarded_out_total), 1);
    primary.clock.jump_to(120_000);
    client.send(&message(b'Q', b"late")).await;
    client.reset().await;
    assert_eq!(server.queries(), ["hello"]);
    primary.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn only_the_very_epoch_and_cluster_is_served() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(5, server.address);
    let foreign = ClusterTag::of(&ClusterId::from("another"));
    let refused = [
        preamble(4),
        preamble(6),
        Preamble {
            cluster: foreign,
            ..preamble(5)
        },
        Preamble {
            kind: ForwardKind::ReadOnly,
            ..preamble(5)
        },
    ];
    for said in refused {
        introduced(&rig, said).await.closed().await;
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(rig.count(|stats| &stats.forward_refused_total), 4);
    introduced(&rig, preamble(5)).await.logged_in().await;
    rig.stop().await;
}

/// Which cluster it belongs to is learned while the ports run.
#[tokio::test]
async fn nothing_is_forwarded_before_there_is_a_cluster() {
    let (early, cluster) = Rig::start_early();
    let server = Server::start(Manners::Normal).await;
    early.serve(5, server.address);
    introduced(&early, preamble(5)).await.closed().await;
    let other = Rig::start();
    other.serve(5, server.address);
    let (sender, of_sender) = Rig::start_early();
    sender.forward(5, other.read_write);
    let mut held = Client::connect(sender.read_write).await;
    held.send(&startup()).await;
    sender.held(1).await;
    assert_eq!(server.connections(), 0);
    cluster.set(tag()).unwrap();
    introduced(&early, preamble(5)).await.logged_in().await;
    of_sender.set(tag()).unwrap();
    sender.forward(5, other.read_write);
    held.logged_in().await;
    for rig in [early, other, sender] {
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_primary_that_knows_a_higher_epoch_refuses_its_own() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(5, server.address);
    rig.route(|routes| routes.epoch = Epoch(6));
    introduced(&rig, preamble(5)).await.closed().await;
    rig.gate.close();
    rig.serve(7, server.address);
    rig.gate.close();
    introduced(&rig, preamble(7)).await.closed().await;
    assert_eq!(server.connections(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_forwarded_connection_is_never_forwarded_nor_held() {
    let (primary, middle) = (Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    primary.serve(1, server.address);
    middle.forward(1, primary.read_write);
    introduced(&middle, preamble(1)).await.closed().await;
    // Nor is one that introduces itself twice.
    let mut twice = Client::connect(primary.read_write).await;
    let said = [preamble(1).encode(), preamble(1).encode()].concat();
    twice.send(&[said, startup()].concat()).await;
    assert_eq!(twice.rest().await.0, b"");
    assert_eq!(server.connections(), 0);
    primary.stop().await;
    middle.stop().await;
}

#[tokio::test]
async fn a_refused_forward_waits_for_the_next_primary() {
    let (old, new, other) = (Rig::start(), Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    // `old` knows already that it is no longer primary.
    old.gate.set(open(1)).unwrap();
    other.forward(1, old.read_write);
    let mut client = Client::connect(other.read_write).await;
    client.send(&startup()).await;
    until("refusals", || {
        old.count(|stats| &stats.forward_refused_total) >= 2
    })
    .await;
    new.serve(2, server.address);
    other.forward(2, new.read_write);
    client.logged_in().await;
    assert_eq!(client.query("moved").await, "moved");
    for rig in [old, new, other] {
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_new_epoch_resets_sessions_with_the_primary_of_the_old_one() {
    let (primary, other) = (Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    primary.serve(1, server.address);
    other.forward(1, primary.read_write);
    let mut client = Client::login(other.read_write).await;
    // That nobody is known for the moment cuts nobody: the primary's own gate decides.
    other.route(|routes| {
        routes.read_write = pgha_proxy::Route::Hold {
            why: "no quorum".to_owned(),
        };
    });
    assert_eq!(client.query("still here").await, "still here");
    other.route(|routes| routes.epoch = Epoch(2));
    client.reset().await;
    assert_eq!(other.count(|stats| &stats.cut_total), 1);
    primary.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn cancel_requests_find_the_primary() {
    let (primary, other) = (Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    primary.serve(1, server.address);
    other.forward(1, primary.read_write);
    // Held new connections are no reason to keep a query from being cancelled.
    assert!(primary.gate.hold_new(Epoch(1)));
    for port in [primary.read_write, other.read_write] {
        let mut client = Client::connect(port).await;
        client.cancel(b"key+code").await;
        client.closed().await;
    }
    let packets = server.packets();
    assert_eq!(packets.len(), 2);
    assert!(packets.iter().all(|packet| packet.ends_with(b"key+code")));
    primary.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_unreachable_primary_and_an_unknown_name_are_told_in_the_end() {
    let rig = Rig::start();
    rig.hold_for(Duration::from_millis(300));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    rig.forward(1, nobody);
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    let error = client.error().await;
    assert!(
        error.contains("primary other") && error.contains(&nobody.to_string()),
        "{error}"
    );
    rig.route(|routes| {
        routes.epoch = Epoch(2);
        routes.read_write = pgha_proxy::Route::Remote {
            member: "other".into(),
            address: "no-such-host.invalid:5432".to_owned(),
            epoch: Epoch(2),
        };
    });
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    assert!(
        client
            .error()
            .await
            .contains("cannot resolve no-such-host.invalid:5432")
    );
    rig.stop().await;
}
