//! Heads and entries of every kind.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload};
use pgha_core::{Epoch, Generation, RaftId};
use proptest::option;
use proptest::prelude::*;

use super::commands::any_command;
use crate::store::image::Head;
use crate::types::{Binding, Entry, FormedMember, LogId, Membership, Peer, Vote};

/// Numbers at both ends of what a field can hold.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..9_u64, u64::MAX - 9..=u64::MAX, any::<u64>()]
}

pub(crate) fn log_id() -> impl Strategy<Value = LogId> {
    (number(), number(), number())
        .prop_map(|(term, node, index)| LogId::new(CommittedLeaderId::new(term, node), index))
}

fn vote() -> impl Strategy<Value = Vote> {
    (number(), number(), any::<bool>()).prop_map(|(term, node, committed)| {
        if committed {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        }
    })
}

fn binding() -> impl Strategy<Value = Binding> {
    (any::<String>(), number(), any::<bool>()).prop_map(|(text, number, witness)| Binding {
        cluster: text.clone(),
        cluster_id: text.as_str().into(),
        generation: Generation(number),
        raft_id: RaftId(number),
        members: vec![FormedMember {
            name: text.as_str().into(),
            raft_id: RaftId(number),
            store_id: text.as_str().into(),
            address: text,
            witness,
        }],
    })
}

prop_compose! {
    pub(crate) fn any_head()(
        (sequence, epoch) in (number(), number()),
        store_id: String,
        binding in option::of(binding()),
        vote in option::of(vote()),
        purged in option::of(log_id()),
        committed in option::of(log_id()),
        last in option::of(log_id()),
    ) -> Head {
        Head {
            sequence,
            store_id: store_id.into(),
            binding,
            vote,
            purged,
            committed,
            adopted_epoch: Epoch(epoch),
            last,
        }
    }
}

fn membership() -> impl Strategy<Value = Membership> {
    let voters = prop::collection::btree_set(number(), 1..4);
    (prop::collection::vec(voters, 1..3), any::<String>()).prop_map(|(sets, text)| {
        let peer = Peer {
            name: text.as_str().into(),
            store_id: text.as_str().into(),
            address: text,
        };
        let all: BTreeSet<u64> = sets.iter().flatten().copied().collect();
        let nodes: BTreeMap<u64, Peer> = all.into_iter().map(|id| (id, peer.clone())).collect();
        Membership::new(sets, nodes)
    })
}

pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        1 => Just(EntryPayload::Blank),
        1 => membership().prop_map(EntryPayload::Membership),
        6 => any_command().prop_map(EntryPayload::Normal),
    ];
    (log_id(), payload).prop_map(|(log_id, payload)| Entry { log_id, payload })
}
