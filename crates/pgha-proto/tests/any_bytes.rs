//! What comes over the network: any bytes, and messages of an old, broken or hostile peer.

use pgha_core::{Addresses, Generation, RaftId};
use pgha_proto::{Parties, address, check_form, check_member, v1};
use proptest::prelude::*;
use prost::Message;

/// Decodes as `M`; what was understood is encoded and understood alike.
fn decode<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert_eq!(M::decode(&*message.encode_to_vec()).as_ref(), Ok(&message));
    Some(message)
}

macro_rules! decode_as_each {
    ($bytes:expr, $($message:ident)+) => {
        $(let _ = decode::<v1::$message>($bytes);)+
    };
}

/// Every message that anybody sends, and the checks on the way to the core.
fn decode_as_everything(bytes: &[u8]) {
    decode_as_each!(
        bytes,
        AppendRequest AppendReply VoteRequest VoteReply PreVoteRequest PreVoteReply SnapshotChunk
        SnapshotReply ElectRequest ElectReply HelloRequest HelloReply FormRequest FormReply
        RejoinRequest RejoinReply WatchRequest Report RenewRequest RenewReply ReleaseRequest
        ReleaseReply StatusRequest StatusReply HistoryRequest HistoryReply ExplainRequest
        ExplainReply DoctorRequest DoctorReply SettingsRequest SettingsReply SetSettingsRequest
        SwitchoverRequest FailoverRequest Progress QuorumRequest QuorumReply RecoverQuorumRequest
        RecoverQuorumReply
    );
    if let Some(identity) = decode::<v1::Identity>(bytes)
        && let Ok(parties) = Parties::try_from(&identity)
    {
        assert_eq!(v1::Identity::from(&parties), identity);
    }
    if let Some(addresses) = decode::<v1::Addresses>(bytes)
        && let Ok(checked) = Addresses::try_from(&addresses)
    {
        assert_eq!(v1::Addresses::from(&checked), addresses);
    }
    let _ = decode::<v1::FormRequest>(bytes).map(|form| check_form(&form));
    let _ = decode::<v1::FormMember>(bytes).map(|member| check_member(&member));
}

fn word() -> impl Strategy<Value = String> {
    "[!-~]{1,128}"
}

fn host_and_port() -> impl Strategy<Value = String> {
    ("[a-z0-9.-]{1,40}|\\[[0-9a-f:]{2,20}\\]", 1..=u16::MAX)
        .prop_map(|(host, port)| format!("{host}:{port}"))
}

fn addresses() -> impl Strategy<Value = v1::Addresses> {
    let optional = || prop_oneof![Just(String::new()), host_and_port()];
    (host_and_port(), optional(), optional()).prop_map(|(raft, postgres, http)| v1::Addresses {
        proxy_read_write: postgres.clone(),
        proxy_read_only: http.clone(),
        raft,
        postgres,
        http,
    })
}

prop_compose! {
    fn parties()(
        cluster_id in word(),
        generation: u64,
        from in 1..=u64::MAX,
        from_store in word(),
        to in 1..=u64::MAX,
        to_store in proptest::option::of(word()),
    ) -> Parties {
        Parties {
            cluster_id: cluster_id.as_str().into(),
            generation: Generation(generation),
            from: RaftId(from),
            from_store: from_store.as_str().into(),
            to: RaftId(to),
            to_store: to_store.map(|id| id.as_str().into()),
        }
    }
}

prop_compose! {
    fn form()(
        cluster in word(),
        cluster_id in word(),
        members in prop::collection::vec(
            (word(), word(), host_and_port(), addresses(), any::<bool>()),
            0..5,
        ),
    ) -> v1::FormRequest {
        let members = members.into_iter().zip(1..);
        v1::FormRequest {
            cluster,
            cluster_id,
            members: members
                .map(|((name, store_id, address, addresses, witness), raft_id)| v1::FormMember {
                    name,
                    raft_id,
                    store_id,
                    address,
                    witness,
                    addresses: Some(addresses),
                })
                .collect(),
        }
    }
}

type Edit = (prop::sample::Index, u8, u8);

/// Each edit: a byte is changed, goes or comes, or what follows it goes.
fn damage(bytes: &mut Vec<u8>, edits: Vec<Edit>) {
    for (at, kind, byte) in edits {
        let at = at.index(bytes.len() + 1);
        match kind % 4 {
            0 => bytes.insert(at, byte),
            1 => bytes.truncate(at),
            _ if at == bytes.len() => bytes.push(byte),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] = byte,
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(any::<Edit>(), 1..4)
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn who_speaks_to_whom_comes_back_as_it_was(parties in parties(), edits in edits()) {
        let wire = v1::Identity::from(&parties);
        prop_assert_eq!(Parties::try_from(&wire), Ok(parties));
        let renewal = v1::RenewRequest {
            identity: Some(wire.clone()),
            release_hash: vec![7; 32],
            membership: Some(v1::LogId { term: 1, leader_raft_id: 2, index: 3 }),
            lease_ms: 1500,
            ..v1::RenewRequest::default()
        };
        for mut bytes in [wire.encode_to_vec(), renewal.encode_to_vec()] {
            damage(&mut bytes, edits.clone());
            decode_as_everything(&bytes);
        }
    }

    #[test]
    fn addresses_come_back_as_they_were(wire in addresses(), edits in edits()) {
        let checked = Addresses::try_from(&wire);
        prop_assert_eq!(checked.map(|checked| v1::Addresses::from(&checked)), Ok(wire.clone()));
        let mut bytes = wire.encode_to_vec();
        damage(&mut bytes, edits);
        decode_as_everything(&bytes);
    }

    #[test]
    fn a_form_is_taken_whole_and_no_damaged_one_harms(wire in form(), edits in edits()) {
        prop_assert_eq!(check_form(&wire), Ok(()));
        let mut twice = wire.clone();
        twice.members.extend(wire.members.first().cloned());
        prop_assert_eq!(check_form(&twice).is_ok(), wire.members.is_empty());
        let mut bytes = wire.encode_to_vec();
        damage(&mut bytes, edits);
        decode_as_everything(&bytes);
    }

    #[test]
    fn any_address_is_taken_as_it_is_or_refused_by_name(text: String) {
        match address("member.address", &text) {
            Ok(taken) => prop_assert_eq!(taken, text),
            Err(error) => prop_assert!(error.to_string().contains("member.address")),
        }
    }
}
