//! Names, addresses and members, from and to the wire.

use std::collections::BTreeMap;

use pgha_core::formation::{Hello, Standing};
use pgha_core::{
    Addresses, ClusterId, Generation, Member, MemberKind, MemberName, RaftId, StoreId,
    SystemIdentifier,
};
use pgha_proto::v1;
use pgha_raft::FormedMember;

pub(super) fn hello(reply: &v1::HelloReply) -> Hello {
    use v1::hello_reply::State;
    let cluster_id = ClusterId(reply.cluster_id.clone());
    let identifier = reply
        .data_directory
        .as_ref()
        .map_or(0, |d| d.system_identifier);
    Hello {
        cluster: reply.cluster.clone(),
        name: reply.name.as_str().into(),
        store_id: StoreId(reply.store_id.clone()),
        peers: reply
            .peers
            .iter()
            .map(|p| (p.name.as_str().into(), p.address.clone()))
            .collect(),
        standing: match reply.state() {
            State::Nothing => Standing::Nothing,
            State::Bound => Standing::Bound(cluster_id),
            State::Member => Standing::Member {
                cluster_id,
                confirmed: reply.quorum_confirmed,
            },
            State::Damaged | State::Unspecified => Standing::Damaged,
            State::Lost => Standing::Lost,
        },
        generation: Generation(reply.generation),
        system_identifier: (identifier != 0).then_some(SystemIdentifier(identifier)),
    }
}

pub(super) fn wire_peers(peers: &BTreeMap<MemberName, String>) -> Vec<v1::PeerAddress> {
    let peer = |(name, address): (&MemberName, &String)| v1::PeerAddress {
        name: name.0.clone(),
        address: address.clone(),
    };
    peers.iter().map(peer).collect()
}

/// Addresses for the wire.
pub(crate) fn wire_addresses(addresses: &Addresses) -> v1::Addresses {
    v1::Addresses {
        raft: addresses.raft.clone(),
        postgres: addresses.postgres.clone(),
        http: addresses.http.clone(),
        proxy_read_write: addresses.proxy_read_write.clone(),
        proxy_read_only: addresses.proxy_read_only.clone(),
    }
}

/// A listed member as the cluster will know it.
pub(crate) fn member(listed: &v1::FormMember) -> Member {
    let addresses = listed.addresses.clone().unwrap_or_default();
    Member::new(
        if listed.witness {
            MemberKind::Witness
        } else {
            MemberKind::Data
        },
        RaftId(listed.raft_id),
        StoreId(listed.store_id.clone()),
        Addresses {
            raft: listed.address.clone(),
            postgres: addresses.postgres,
            http: addresses.http,
            proxy_read_write: addresses.proxy_read_write,
            proxy_read_only: addresses.proxy_read_only,
        },
    )
}

pub(super) fn formed(listed: &v1::FormMember) -> FormedMember {
    FormedMember {
        name: listed.name.as_str().into(),
        raft_id: RaftId(listed.raft_id),
        store_id: StoreId(listed.store_id.clone()),
        address: listed.address.clone(),
        witness: listed.witness,
    }
}
