//! The only mutator: refuses first, then changes without failing.

use super::refusal::{Applied, Refusal};
use super::{ClusterState, Phase};
use crate::command::{Command, Create};
use crate::{Epoch, Member, MemberName, RaftId, Settings};

impl ClusterState {
    /// Applies one committed command. The same on every member: takes no time, draws nothing.
    /// `index` is the Raft index of its entry.
    pub fn apply(&mut self, index: u64, command: &Command) -> Applied {
        match command {
            Command::Create(create) => self.create(create),
            Command::Bootstrap { expected, node } => self.bootstrap(*expected, node),
            Command::Revoke(revoke) => self.revoke(index, revoke),
            Command::Primary(primary) => self.name_primary(index, primary),
            Command::Opened(opened) => self.opened(opened),
            Command::Handover {
                epoch,
                target,
                deadline_ms,
            } => self.begin_handover(index, *epoch, target.as_ref(), *deadline_ms),
            Command::HandoverEnd { epoch, .. } => self.end_handover(*epoch),
            Command::SetSettings {
                expected_version,
                set,
                unset,
            } => {
                let mut changed = self.settings.clone();
                self.expect_version(*expected_version)?;
                unset
                    .iter()
                    .try_for_each(|key| changed.unset(key))
                    .map_err(Refusal::Setting)?;
                set.iter()
                    .try_for_each(|(key, value)| changed.set(key, value))
                    .map_err(Refusal::Setting)?;
                self.settings = Settings {
                    version: self.settings.version + 1,
                    ..changed
                };
                Ok(())
            }
            Command::PutMember {
                name,
                replaces,
                member,
            } => self.put_member(name, *replaces, member),
            Command::Recover(recover) => self.recover(index, recover),
            Command::Lost { epoch, range, by } => self.lost(*epoch, *range, by),
        }
    }

    fn create(&mut self, create: &Create) -> Applied {
        if self.is_created() {
            return Err(Refusal::Exists);
        }
        self.cluster.clone_from(&create.cluster);
        self.cluster_id = create.cluster_id.clone();
        self.generation = create.generation;
        self.members.clone_from(&create.members);
        self.settings = create.settings.clone();
        self.replication_secret = create.replication_secret.clone();
        Ok(())
    }

    fn bootstrap(&mut self, expected: Epoch, node: &MemberName) -> Applied {
        self.expect_epoch(expected)?;
        self.expect_data_member(node)?;
        if self.system_identifier.is_some()
            || !matches!(self.phase, Phase::Empty | Phase::Bootstrap { .. })
        {
            return Err(self.out_of_phase("a bootstrap"));
        }
        self.epoch = expected.next();
        self.phase = Phase::Bootstrap { node: node.clone() };
        Ok(())
    }

    fn put_member(
        &mut self,
        name: &MemberName,
        replaces: Option<RaftId>,
        member: &Member,
    ) -> Applied {
        let wrong = |why: &str| Refusal::Member {
            name: name.clone(),
            why: why.to_owned(),
        };
        if self.members.get(name).map(|known| known.raft_id) != replaces {
            return Err(wrong("it is not the one that was to be replaced"));
        }
        let id_taken = |(other, known): (&MemberName, &Member)| {
            known.raft_id == member.raft_id && (other != name || known.store_id != member.store_id)
        };
        if self.members.iter().any(id_taken) || self.ruled_out.contains(&member.raft_id) {
            return Err(wrong("its raft id was used before"));
        }
        self.members.insert(name.clone(), member.clone());
        Ok(())
    }

    pub(super) fn expect_epoch(&self, expected: Epoch) -> Applied {
        if expected == self.epoch {
            return Ok(());
        }
        Err(Refusal::Epoch {
            expected,
            found: self.epoch,
        })
    }

    const fn expect_version(&self, expected: u64) -> Applied {
        if expected == self.settings.version {
            return Ok(());
        }
        Err(Refusal::SettingsVersion {
            expected,
            found: self.settings.version,
        })
    }

    pub(super) fn expect_data_member(&self, name: &MemberName) -> Applied {
        match self.members.get(name) {
            Some(member) if member.has_data() => Ok(()),
            Some(_) | None => Err(Refusal::NoSuchMember(name.clone())),
        }
    }

    pub(super) fn out_of_phase(&self, what: &str) -> Refusal {
        Refusal::Phase {
            epoch: self.epoch,
            what: what.to_owned(),
        }
    }
}
