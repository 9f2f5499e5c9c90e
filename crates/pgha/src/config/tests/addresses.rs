//! Peers, and the addresses that derive from them.

use super::{PEERS, flags, refusal};
use crate::config::*;

#[test]
fn addresses_derive_from_the_own_entry_in_peers() {
    let config = flags(
        &[
            &PEERS[..],
            &["--proxy-rw", "0.0.0.0:6501", "--http-listen", "10.9.9.9:80"],
        ]
        .concat(),
    );
    let config = config.expect("valid");
    let addresses = config.addresses();
    assert_eq!(addresses.raft, "10.0.0.1:7400");
    assert_eq!(addresses.postgres, "10.0.0.1:5433");
    assert_eq!(addresses.proxy_read_write, "10.0.0.1:6501");
    assert_eq!(addresses.proxy_read_only, "10.0.0.1:8501");
    assert_eq!(addresses.http, "10.9.9.9:80");
    assert_eq!(config.postgres.socket_dir, Path::new("/var/lib/pgha/run"));
    assert_eq!(config.raft_dir(), Path::new("/var/lib/pgha/raft"));
    assert_eq!(config.warnings, []);
}

#[test]
fn one_member_needs_an_address_and_is_warned_of() {
    assert!(refusal(flags(&[])).contains("--advertise"));
    let config = flags(&["--listen", "10.0.0.1:7400"]).expect("valid");
    assert_eq!(config.addresses().raft, "10.0.0.1:7400");
    assert_eq!(config.warnings, [Warning::ClusterOfOne]);
    let two = flags(&["--peers", "n1=a:1,n2=b:1"]).expect("valid");
    assert_eq!(two.warnings, [Warning::TwoVoters]);
}

#[test]
fn peers_must_have_this_member_at_its_address() {
    let text = refusal(flags(&["--name", "n9", PEERS[0], PEERS[1]]));
    assert!(text.contains("n9=HOST:PORT"), "{text}");
    let text = refusal(flags(&[PEERS[0], PEERS[1], "--advertise", "10.0.0.9:7400"]));
    assert!(text.contains("n1=10.0.0.1:7400"), "{text}");
    let text = refusal(flags(&[PEERS[0], PEERS[1], "--join", "a:1"]));
    assert!(text.contains("peers is given too"), "{text}");
    assert!(flags(&[PEERS[0], PEERS[1], "--advertise", "10.0.0.1:7400"]).is_ok());
}

#[test]
fn loopback_is_warned_of_only_among_real_addresses() {
    let loopback =
        flags(&["--peers", "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=localhost:3"]).expect("valid");
    assert_eq!(loopback.warnings, []);
    let mixed = flags(&["--pg-listen", "127.0.0.1:5433", PEERS[0], PEERS[1]]).expect("valid");
    let [Warning::LoopbackAdvertised { key, address }] = &mixed.warnings[..] else {
        panic!("{:?}", mixed.warnings);
    };
    assert_eq!(
        (*key, address.to_string().as_str()),
        ("postgres.listen", "127.0.0.1:5433")
    );
}
