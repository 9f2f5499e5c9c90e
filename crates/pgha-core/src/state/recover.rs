//! Going on with one member after the quorum was lost for ever.

use super::refusal::{Applied, Refusal};
use super::{ClusterState, Phase, Revoked};
use crate::command::Recover;
use crate::journal::{Cause, JournalEntry};

impl ClusterState {
    /// Begins a generation in which the survivor alone votes, and an epoch that it is to be primary
    /// of. The others stay known, so that they can come back, but not by the raft ids that they had:
    /// what those promised or voted is not known here any more.
    pub(super) fn recover(&mut self, index: u64, recover: &Recover) -> Applied {
        let refused = |why: &str| Refusal::Recovery {
            survivor: recover.survivor.clone(),
            why: why.to_owned(),
        };
        self.expect_data_member(&recover.survivor)?;
        if recover.generation != self.generation.next() {
            return Err(refused("another generation is next"));
        }
        if recover.epoch <= self.epoch {
            return Err(refused("its epoch is not a new one"));
        }
        let previous = match &self.phase {
            Phase::Primary(record) => Some(record.clone()),
            Phase::Revoked(revoked) => revoked.previous.clone(),
            Phase::Empty | Phase::Bootstrap { .. } => {
                return Err(refused("the cluster never had a primary"));
            }
        };
        let others = self.members.iter();
        let others = others.filter(|(name, _)| **name != recover.survivor);
        self.ruled_out
            .extend(others.map(|(_, member)| member.raft_id));
        self.generation = recover.generation;
        self.epoch = recover.epoch;
        self.handover = None;
        let cause = Cause::QuorumRecovered {
            survivor: recover.survivor.clone(),
            generation: recover.generation,
        };
        self.journal_push(JournalEntry {
            previous_primary: previous.as_ref().map(|record| record.node.clone()),
            ..JournalEntry::begun(self.epoch, cause.clone(), recover.at.clone())
        });
        self.phase = Phase::Revoked(Revoked {
            index,
            cause,
            previous,
            target: Some(recover.survivor.clone()),
            told: recover.told,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::{Command, Primary};
    use crate::state::tests::{create, member};
    use crate::{Epoch, Generation, Member, MemberName, Nonce, RaftId, SystemIdentifier};

    /// n1 and n2 with data, n3 a witness; n2 is primary of epoch 2.
    fn cluster() -> ClusterState {
        let mut state = ClusterState::default();
        state.apply(1, &create(1)).unwrap();
        let expected = Epoch::NONE;
        let node = MemberName::from("n2");
        let bootstrap = Command::Bootstrap {
            expected,
            node: node.clone(),
        };
        state.apply(2, &bootstrap).unwrap();
        let made = SystemIdentifier(7);
        let primary = Primary::initial(Epoch(1), node, Nonce(1), made, String::new());
        state.apply(3, &Command::Primary(primary)).unwrap();
        state
    }

    fn order(generation: u64, epoch: u64, survivor: &str) -> Command {
        Command::Recover(Recover {
            generation: Generation(generation),
            epoch: Epoch(epoch),
            survivor: survivor.into(),
            told: None,
            at: String::new(),
        })
    }

    #[test]
    fn takes_every_other_vote_and_revokes() {
        let mut state = cluster();
        state.apply(9, &order(2, 5, "n1")).unwrap();
        assert_eq!((state.generation, state.epoch), (Generation(2), Epoch(5)));
        assert_eq!(state.ruled_out, BTreeSet::from([RaftId(2), RaftId(3)]));
        let Phase::Revoked(revoked) = &state.phase else {
            panic!("{:?}", state.phase);
        };
        assert_eq!((revoked.index, &revoked.target), (9, &Some("n1".into())));
        assert_eq!(revoked.previous.as_ref().unwrap().node, "n2".into());
        let entry = state.journal.last().unwrap();
        assert_eq!(
            (entry.epoch, entry.cause.code()),
            (Epoch(5), "quorum_recovered")
        );
        let votes = |id| crate::invariant::quorum(&state, &[RaftId(1), RaftId(id)]);
        assert!(votes(4).is_ok() && votes(2).is_err());
        // A second time, too: the quorum of the new generation may be lost as well.
        state.apply(10, &order(3, 6, "n1")).unwrap();
        assert_eq!(state.generation, Generation(3));
    }

    #[test]
    fn who_was_ruled_out_comes_back_under_another_id_only() {
        let mut state = cluster();
        state.apply(9, &order(2, 5, "n1")).unwrap();
        let returns = |id: u64| Command::PutMember {
            name: "n2".into(),
            replaces: Some(RaftId(2)),
            member: Member {
                store_id: "new".into(),
                ..member(2, id)
            },
        };
        assert!(state.apply(10, &returns(2)).is_err());
        assert!(state.apply(10, &returns(3)).is_err());
        assert!(state.is_ruled_out(&state.members[&MemberName::from("n2")]));
        state.apply(10, &returns(4)).unwrap();
        assert!(!state.is_ruled_out(&state.members[&MemberName::from("n2")]));
        assert!(state.is_ruled_out(&state.members[&MemberName::from("n3")]));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let before = cluster();
        for wrong in [
            order(1, 5, "n1"),
            order(3, 5, "n1"),
            order(2, 1, "n1"),
            order(2, 5, "n3"),
            order(2, 5, "n9"),
        ] {
            let mut state = before.clone();
            assert!(state.apply(9, &wrong).is_err(), "{wrong:?}");
            assert_eq!(state, before);
        }
        let mut empty = ClusterState::default();
        assert!(empty.apply(1, &order(1, 5, "n1")).is_err());
    }
}
