//! Binds this member to a cluster: persisted before anybody hears of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pgha_core::formation::Standing;
use pgha_core::{ClusterId, Generation, Member, MemberName, RaftId};
use pgha_postgres::write_atomically;
use pgha_proto::v1;
use pgha_raft::Binding;
use serde::{Deserialize, Serialize};

use super::Formation;
use super::wire::{formed, member};

/// The members as the formation listed them, for the cluster's first entry.
const NOTE_FILE: &str = "formation.json";

#[derive(Serialize, Deserialize)]
struct Note {
    members: BTreeMap<MemberName, Member>,
}

/// On disk with its directory before the binding is: a bound member without its note could not write
/// the cluster's first entry, and is never asked again.
fn keep(path: &Path, note: &Note) -> anyhow::Result<()> {
    Ok(write_atomically(path, &serde_json::to_vec(note)?)?)
}

/// Whether that is the binding that the request asks for.
fn is_bound_as(binding: Option<&Binding>, request: &v1::FormRequest) -> bool {
    binding.is_some_and(|bound| {
        let listed = request.members.iter().map(formed);
        bound.cluster_id.0 == request.cluster_id && bound.members.iter().cloned().eq(listed)
    })
}

impl Formation {
    /// Takes a Form: persisted before it is answered.
    pub(crate) async fn accept(&self, request: v1::FormRequest) -> Result<(), String> {
        if *self.started.borrow() {
            // Whoever answered too late to be heard has started since, and is asked again.
            return if is_bound_as(self.store.binding().as_ref(), &request) {
                Ok(())
            } else {
                Err("this member takes part in a cluster already".to_owned())
            };
        }
        pgha_proto::check_form(&request).map_err(|error| error.to_string())?;
        let cluster_id = ClusterId(request.cluster_id.clone());
        match self.standing(false) {
            Standing::Nothing => {}
            Standing::Bound(bound) if bound == cluster_id => {}
            other => return Err(format!("this member is {other:?}")),
        }
        if request.cluster != self.config.cluster {
            return Err(format!(
                "this member is for cluster {:?}",
                self.config.cluster
            ));
        }
        let peers = self.peers();
        let listed: BTreeMap<MemberName, String> = request
            .members
            .iter()
            .map(|member| (MemberName(member.name.clone()), member.address.clone()))
            .collect();
        if listed != peers {
            return Err("the list is not this member's peer list".to_owned());
        }
        self.bind(&request)
            .await
            .map_err(|error| format!("{error:#}"))
    }

    pub(super) async fn bind(&self, request: &v1::FormRequest) -> anyhow::Result<()> {
        let mine = request
            .members
            .iter()
            .find(|member| member.name == self.config.name.as_str())
            .context("this member is not on the list")?;
        if mine.store_id != self.store.store_id().0 {
            bail!(
                "the list has store {} for this member, it is {}",
                mine.store_id,
                self.store.store_id()
            );
        }
        let note = Note {
            members: request
                .members
                .iter()
                .map(|m| (m.name.as_str().into(), member(m)))
                .collect(),
        };
        keep(&self.note_path(), &note)?;
        let binding = Binding {
            cluster: request.cluster.clone(),
            cluster_id: ClusterId(request.cluster_id.clone()),
            generation: Generation(1),
            raft_id: RaftId(mine.raft_id),
            members: request.members.iter().map(formed).collect(),
        };
        if self.store.binding().as_ref() != Some(&binding) {
            self.store.bind(binding).await?;
        }
        Ok(())
    }

    fn note_path(&self) -> PathBuf {
        self.config.data_dir.join(NOTE_FILE)
    }

    /// The members as the formation listed them.
    pub(crate) fn listed_members(&self) -> Option<BTreeMap<MemberName, Member>> {
        let text = std::fs::read(self.note_path()).ok()?;
        serde_json::from_slice::<Note>(&text)
            .ok()
            .map(|note| note.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_the_old_note_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NOTE_FILE);
        let old = dir.path().join("old");
        std::fs::write(&path, "old").unwrap();
        std::fs::hard_link(&path, &old).unwrap();
        let members = BTreeMap::new();
        keep(&path, &Note { members }).unwrap();
        // The old file was not written into.
        assert_eq!(std::fs::read(&old).unwrap(), b"old");
        assert_eq!(std::fs::read(&path).unwrap(), br#"{"members":{}}"#);
        let left = std::fs::read_dir(dir.path()).unwrap();
        assert_eq!(left.count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn the_same_request_again_is_no_other_cluster() {
        let member = |raft_id| v1::FormMember {
            name: format!("n{raft_id}"),
            raft_id,
            ..v1::FormMember::default()
        };
        let request = |cluster_id: &str, members: &[u64]| v1::FormRequest {
            cluster: "main".to_owned(),
            cluster_id: cluster_id.to_owned(),
            members: members.iter().copied().map(member).collect(),
        };
        let first = request("c1", &[1, 2]);
        let bound = Binding {
            cluster: "main".to_owned(),
            cluster_id: "c1".into(),
            generation: Generation(1),
            raft_id: RaftId(1),
            members: first.members.iter().map(formed).collect(),
        };
        assert!(is_bound_as(Some(&bound), &first));
        assert!(!is_bound_as(Some(&bound), &request("c2", &[1, 2])));
        assert!(!is_bound_as(Some(&bound), &request("c1", &[1, 3])));
        assert!(!is_bound_as(None, &first));
    }

    #[test]
    fn a_note_that_cannot_be_kept_binds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone").join(NOTE_FILE);
        let members = BTreeMap::new();
        assert!(keep(&path, &Note { members }).is_err());
    }
}
