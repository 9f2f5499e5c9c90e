//! Where a fault happens: a role in the schedule, a name when it strikes.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::sampler::open_epoch;
use crate::{http, wait};

const ANSWER_WITHIN: Duration = Duration::from_millis(300);
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// A role that a member has at the moment of the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Who serves writes, or did last.
    Primary,
    /// The replica of that index by name, where there are so many, else the last.
    Replica(usize),
    /// Who leads the Raft group, or did last.
    RaftLeader,
    /// The primary and a replica.
    PrimaryAndReplica(usize),
    /// Both replicas of three members.
    Replicas,
    /// All members.
    All,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("the primary"),
            Self::Replica(index) => write!(f, "replica {index}"),
            Self::RaftLeader => f.write_str("the raft leader"),
            Self::PrimaryAndReplica(index) => write!(f, "the primary and replica {index}"),
            Self::Replicas => f.write_str("the replicas"),
            Self::All => f.write_str("all"),
        }
    }
}

/// Who had which role when somebody last knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lay {
    /// Everybody, by name.
    pub names: Vec<String>,
    /// The primary.
    pub primary: String,
    /// The raft leader.
    pub leader: String,
    /// Who said at the last look that its gate is open, and for which epoch.
    pub open: Option<(String, u64)>,
}

impl Lay {
    /// Asks a healthy cluster; the lead of the Raft group may just be changing hands.
    pub async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        wait::until("a primary and a raft leader", KNOWN_WITHIN, || async {
            let status = cluster.status().await?;
            Ok(Self {
                names: cluster.names().into_iter().collect(),
                primary: status.primary.context("no primary is known")?,
                leader: status.raft.leader.context("no raft leader is known")?,
                open: None,
            })
        })
        .await
    }

    /// Asks every member's health check, all at once: faults do not wait for those who are silent. What
    /// nobody says stays as it was, but for who serves: that is known of now or not at all.
    pub async fn refresh(&mut self, cluster: &Cluster) {
        let from = cluster.network.as_ref().map(|n| n.client().clone());
        let asked = cluster.members.iter().map(|member| {
            let (name, at, from) = (member.name.clone(), member.addresses.http, from.clone());
            async move {
                let asked = async {
                    let metrics = http::get_from(from.as_ref(), at, "/metrics");
                    let primary = http::get_from(from.as_ref(), at, "/primary");
                    tokio::try_join!(metrics, primary)
                };
                let answers = tokio::time::timeout(ANSWER_WITHIN, asked).await;
                let (metrics, primary) = answers.ok()?.ok()?;
                let open = (primary.status == 200).then(|| open_epoch(&primary.body));
                let leads = http::metric(&metrics.body, "pgha_raft_is_leader") == Some(1.0);
                Some((name, open.flatten(), leads))
            }
        });
        self.open = None;
        for (name, epoch, is_leader) in join_all(asked).await.into_iter().flatten() {
            if let Some(epoch) = epoch {
                self.primary.clone_from(&name);
                self.open = Some((name.clone(), epoch));
            }
            if is_leader {
                self.leader = name;
            }
        }
    }

    /// The names of that place.
    pub fn names_at(&self, place: Place) -> Vec<String> {
        let replicas: Vec<&String> = self.names.iter().filter(|n| **n != self.primary).collect();
        let replica = |index: usize| {
            replicas
                .get(index)
                .or_else(|| replicas.last())
                .copied()
                .cloned()
        };
        let primary = Some(self.primary.clone());
        match place {
            Place::Primary => primary.into_iter().collect(),
            Place::Replica(index) => replica(index).into_iter().collect(),
            Place::RaftLeader => vec![self.leader.clone()],
            Place::PrimaryAndReplica(index) => {
                [primary, replica(index)].into_iter().flatten().collect()
            }
            Place::Replicas => replicas.into_iter().cloned().collect(),
            Place::All => self.names.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_names() {
        let lay = Lay {
            names: ["n1", "n2", "n3"].map(str::to_owned).to_vec(),
            primary: "n2".to_owned(),
            leader: "n3".to_owned(),
            open: None,
        };
        for (place, names) in [
            (Place::Primary, vec!["n2"]),
            (Place::Replica(0), vec!["n1"]),
            (Place::Replica(1), vec!["n3"]),
            (Place::Replica(9), vec!["n3"]),
            (Place::RaftLeader, vec!["n3"]),
            (Place::PrimaryAndReplica(0), vec!["n2", "n1"]),
            (Place::Replicas, vec!["n1", "n3"]),
            (Place::All, vec!["n1", "n2", "n3"]),
        ] {
            assert_eq!(lay.names_at(place), names, "{place}");
        }
    }
}
