//! What this member says of itself to a sidecar that asks.

use pgha_core::formation::Standing;
use pgha_proto::v1;

use super::Formation;
use super::wire::{wire_addresses, wire_peers};

impl Formation {
    /// This member's answer to a Hello.
    pub(crate) fn hello_reply(&self, confirmed: bool) -> v1::HelloReply {
        use v1::hello_reply::State;
        let me = self.me();
        let binding = self.store.binding();
        let state = match self.standing(confirmed) {
            Standing::Nothing => State::Nothing,
            Standing::Bound(_) => State::Bound,
            Standing::Member { .. } => State::Member,
            Standing::Damaged => State::Damaged,
            Standing::Lost => State::Lost,
        };
        v1::HelloReply {
            cluster: me.cluster,
            name: me.name.0,
            store_id: me.store_id.0,
            peers: wire_peers(&me.peers),
            state: state.into(),
            cluster_id: binding
                .as_ref()
                .map(|b| b.cluster_id.0.clone())
                .unwrap_or_default(),
            generation: binding.as_ref().map_or(0, |b| b.generation.0),
            raft_id: binding.as_ref().map_or(0, |b| b.raft_id.0),
            quorum_confirmed: confirmed,
            leader_address: String::new(),
            data_directory: Some(v1::DataDirectory {
                system_identifier: self.system_identifier.map_or(0, |id| id.0),
                ..v1::DataDirectory::default()
            }),
            witness: self.config.witness,
            addresses: Some(wire_addresses(&self.config.addresses())),
            detail: String::new(),
            your_store_sequence: 0,
            your_raft_id: 0,
        }
    }
}
