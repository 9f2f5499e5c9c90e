//! Whatever a peer sends is decoded or refused; what this member sends comes back as it was.

use std::collections::BTreeMap;

use pgha_core::Epoch;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Numbers at both ends of what a field can hold, and such as fit each other.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4_u64, 1 => u64::MAX - 2..=u64::MAX, 1 => any::<u64>()]
}

fn wire_log_id() -> impl Strategy<Value = v1::LogId> {
    (number(), number(), number()).prop_map(|(term, leader_raft_id, index)| v1::LogId {
        term,
        leader_raft_id,
        index,
    })
}

fn wire_membership() -> impl Strategy<Value = v1::Membership> {
    let voters = prop::collection::vec(prop::collection::vec(number(), 0..4), 0..3);
    let members = prop::collection::vec((number(), any::<String>()), 0..5);
    (voters, members).prop_map(|(voters, members)| v1::Membership {
        voters: voters
            .into_iter()
            .map(|raft_ids| v1::VoterSet { raft_ids })
            .collect(),
        members: members
            .into_iter()
            .map(|(raft_id, text)| v1::RaftMember {
                raft_id,
                name: text.clone(),
                store_id: text.clone(),
                address: text,
            })
            .collect(),
    })
}

fn wire_payload() -> impl Strategy<Value = v1::entry::Payload> {
    use v1::entry::Payload;
    prop_oneof![
        Just(Payload::Blank(v1::Blank {})),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Payload::CommandJson),
        Just(Payload::CommandJson(
            br#"{"handover_end":{"epoch":1,"why":""}}"#.to_vec()
        )),
        wire_membership().prop_map(Payload::Membership),
    ]
}

prop_compose! {
    fn wire_append()(
        vote in option::of((number(), number(), any::<bool>())),
        previous in option::of(wire_log_id()),
        committed in option::of(wire_log_id()),
        entries in prop::collection::vec((option::of(wire_log_id()), option::of(wire_payload())), 0..4),
        consecutive in any::<bool>(),
    ) -> v1::AppendRequest {
        let first = previous.map_or(0, |id| id.index.wrapping_add(1));
        let entries = entries.into_iter().zip(0_u64..).map(|((mut log_id, payload), at)| {
            if let Some(id) = log_id.as_mut().filter(|_| consecutive) {
                id.index = first.wrapping_add(at);
            }
            v1::Entry { log_id, payload }
        });
        v1::AppendRequest {
            identity: None,
            vote: vote.map(|(term, raft_id, committed)| v1::Vote { term, raft_id, committed }),
            previous,
            entries: entries.collect(),
            committed,
        }
    }
}

fn entry() -> impl Strategy<Value = EntryPayload<TypeConfig>> {
    let command = any::<(u64, String)>().prop_map(|(epoch, why)| {
        let epoch = Epoch(epoch);
        EntryPayload::Normal(Command::HandoverEnd { epoch, why })
    });
    let membership = prop::collection::btree_set(1..6_u64, 1..4).prop_map(|voters| {
        let nodes: BTreeMap<u64, Peer> = (1..6).map(|id| (id, Peer::default())).collect();
        EntryPayload::Membership(Membership::new(vec![voters], nodes))
    });
    prop_oneof![Just(EntryPayload::Blank), command, membership]
}

proptest! {
    #[test]
    fn an_append_of_any_peer_is_decoded_or_refused(request in wire_append()) {
        if let Ok(decoded) = append_in(&request) {
            let again = append_out(v1::Identity::default(), &decoded).unwrap();
            prop_assert_eq!(format!("{:?}", append_in(&again).unwrap()), format!("{decoded:?}"));
        }
    }

    #[test]
    fn an_append_comes_back_as_it_was(
        (term, first) in (1..9_u64, 0..u64::MAX - 9),
        payloads in prop::collection::vec(entry(), 0..6),
        leader_commit in option::of(0..99_u64),
    ) {
        let id = |index| log_id_in(&v1::LogId { term, leader_raft_id: 1, index });
        let request = AppendRequest {
            vote: Vote::new_committed(term, 1),
            prev_log_id: first.checked_sub(1).map(id),
            entries: payloads
                .into_iter()
                .zip(first..)
                .map(|(payload, index)| Entry { log_id: id(index), payload })
                .collect(),
            leader_commit: leader_commit.map(id),
        };
        let wire = append_out(v1::Identity::default(), &request).unwrap();
        prop_assert_eq!(format!("{:?}", append_in(&wire).unwrap()), format!("{request:?}"));
    }

    #[test]
    fn a_snapshot_of_any_peer_is_decoded_or_refused(
        last_log in option::of(wire_log_id()),
        membership_log in option::of(wire_log_id()),
        membership in option::of(wire_membership()),
        snapshot_id: String,
    ) {
        let head = v1::SnapshotHead {
            snapshot_id,
            last_log,
            membership_log,
            membership,
            ..v1::SnapshotHead::default()
        };
        if let Ok(meta) = snapshot_meta_in(&head) {
            let again = snapshot_meta_in(&snapshot_head_out(&meta, b"")).unwrap();
            prop_assert_eq!(again, meta);
        }
    }

    #[test]
    fn votes_and_replies_of_any_peer_are_decoded_or_refused(
        vote in option::of((number(), number(), any::<bool>())),
        last_log in option::of(wire_log_id()),
        granted: bool,
    ) {
        let vote = vote.map(|(term, raft_id, committed)| v1::Vote { term, raft_id, committed });
        let request = v1::VoteRequest { vote, last_log, ..v1::VoteRequest::default() };
        prop_assert_eq!(vote_request_in(&request).is_ok(), vote.is_some());
        let reply = v1::VoteReply { vote, granted, last_log };
        if let Ok(decoded) = vote_reply_in(&reply) {
            prop_assert_eq!(vote_reply_out(&decoded), reply);
        }
        for outcome in [
            None,
            last_log.map(v1::append_reply::Outcome::PartialSuccess),
            vote.map(v1::append_reply::Outcome::HigherVote),
        ] {
            let reply = v1::AppendReply { outcome };
            if let Ok(decoded) = append_reply_in(&reply) {
                prop_assert_eq!(append_reply_out(&decoded), reply);
            }
        }
    }
}
