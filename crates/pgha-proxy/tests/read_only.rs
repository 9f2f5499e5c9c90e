//! The read-only port.

mod common;

use std::net::SocketAddr;

use common::{Client, Manners, Rig, Server, startup, until};
use pgha_core::Epoch;
use pgha_proxy::{ReadOnlyAddress, ReadOnlyTarget};

fn local(postgres: SocketAddr) -> ReadOnlyTarget {
    let address = ReadOnlyAddress::Local { postgres };
    ReadOnlyTarget {
        member: "local".into(),
        address,
        weight: 1,
    }
}

fn remote(name: &str, address: SocketAddr) -> ReadOnlyTarget {
    let address = ReadOnlyAddress::Remote {
        address: address.to_string(),
    };
    ReadOnlyTarget {
        member: name.into(),
        address,
        weight: 1,
    }
}

/// A member with a replica behind its read-only port.
async fn replica() -> (Rig, Server) {
    let (rig, server) = (Rig::start(), Server::start(Manners::Normal).await);
    rig.route(|routes| {
        routes.epoch = Epoch(1);
        routes.read_only = vec![local(server.address)];
        routes.fallback_to_primary = false;
    });
    rig.admission.set(Epoch(1), true).unwrap();
    (rig, server)
}

#[tokio::test]
async fn sessions_are_spread_over_local_and_remote_replicas() {
    let (here, here_server) = replica().await;
    let (there, there_server) = replica().await;
    here.route(|routes| routes.read_only.push(remote("there", there.read_only)));
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::login(here.read_only).await);
    }
    assert_eq!(
        (here_server.connections(), there_server.connections()),
        (5, 5)
    );
    for client in &mut clients {
        assert_eq!(client.query("read").await, "read");
    }
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn a_failing_replica_is_passed_over() {
    let (here, server) = replica().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    here.route(|routes| {
        routes.read_only.insert(0, remote("gone", nobody));
    });
    for _ in 0..4 {
        Client::login(here.read_only).await;
    }
    assert_eq!(server.connections(), 4);
    assert!(here.count(|stats| &stats.attempts_failed_total) >= 1);
    here.stop().await;
}

#[tokio::test]
async fn withdrawn_admission_resets_sessions_and_holds_new_ones() {
    let (rig, server) = replica().await;
    let mut client = Client::login(rig.read_only).await;
    rig.admission.set(Epoch(2), true).unwrap();
    assert_eq!(
        client.query("an epoch alone cuts nobody").await,
        "an epoch alone cuts nobody"
    );
    assert!(
        rig.admission.set(Epoch(1), false).is_err(),
        "an order of the past"
    );
    rig.admission.set(Epoch(2), false).unwrap();
    client.reset().await;
    let mut waiting = Client::connect(rig.read_only).await;
    waiting.send(&startup()).await;
    rig.held(1).await;
    assert_eq!(server.connections(), 1);
    rig.admission.set(Epoch(2), true).unwrap();
    waiting.logged_in().await;
    rig.stop().await;
}

#[tokio::test]
async fn without_a_replica_the_primary_reads_through_its_gate() {
    let (primary, other) = (Rig::start(), Rig::start());
    let server = Server::start(Manners::Normal).await;
    primary.serve(1, server.address);
    other.forward(1, primary.read_write);
    for rig in [&primary, &other] {
        let mut client = Client::login(rig.read_only).await;
        assert_eq!(client.query("read").await, "read");
    }
    assert_eq!(primary.count(|stats| &stats.forwarded_in_total), 1);
    until("two sessions", || {
        primary.count(|stats| &stats.sessions_total) == 2
    })
    .await;
    let mut client = Client::login(other.read_only).await;
    primary.gate.close();
    client.reset().await;
    primary.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn without_fallback_the_client_is_told_that_there_is_no_replica() {
    let rig = Rig::start();
    let server = Server::start(Manners::Normal).await;
    rig.serve(1, server.address);
    rig.hold_for(std::time::Duration::from_millis(100));
    rig.route(|routes| routes.fallback_to_primary = false);
    let mut client = Client::connect(rig.read_only).await;
    client.send(&startup()).await;
    let error = client.error().await;
    assert!(
        error.contains("57P03") && error.contains("no replica"),
        "{error}"
    );
    assert_eq!(server.connections(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_forwarded_read_stays_on_the_receivers_replica() {
    let (here, _here_server) = replica().await;
    let (there, there_server) = replica().await;
    // `there` would pass reads on to `here`, were they not forwarded already.
    there.route(|routes| routes.read_only.push(remote("here", here.read_only)));
    here.route(|routes| routes.read_only = vec![remote("there", there.read_only)]);
    for _ in 0..4 {
        Client::login(here.read_only).await;
    }
    assert_eq!(there_server.connections(), 4);
    here.stop().await;
    there.stop().await;
}

#[tokio::test]
async fn cancel_requests_go_to_every_replica() {
    let (here, here_server) = replica().await;
    let (there, there_server) = replica().await;
    // Whoever fell behind has not ended its sessions.
    for rig in [&here, &there] {
        rig.route(|routes| routes.unfit_to_read = std::mem::take(&mut routes.read_only));
    }
    here.route(|routes| routes.read_only.push(remote("there", there.read_only)));
    let mut client = Client::connect(here.read_only).await;
    client.cancel(b"key+code").await;
    client.closed().await;
    assert_eq!(
        (here_server.connections(), there_server.connections()),
        (1, 1)
    );
    assert_eq!(here.count(|stats| &stats.cancels_total), 2);
    here.stop().await;
    there.stop().await;
}
