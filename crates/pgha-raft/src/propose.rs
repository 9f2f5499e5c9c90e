//! Commands into the log.

use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use pgha_core::{Applied, Command};

use crate::clock;
use crate::core::{Core, Leader};

/// Largest command. The store's records may be four times that, so that what one version accepts the
/// records of another one hold.
pub(crate) const COMMAND_BYTES_MAX: usize = 16 * 1024;

/// Why a command was not taken, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was written. Ask the leader.
    #[error("this member does not lead the Raft group, {}", known(.leader.as_ref()))]
    NotLeader {
        /// Who leads, as far as it is known.
        leader: Option<Leader>,
    },
    /// Nothing was written: openraft would take the command and keep it until a quorum is back,
    /// perhaps long after its author gave up.
    #[error("no quorum answered this leader for {}", since(.silent))]
    NoQuorum {
        /// Since the last answer of a quorum; none if there never was one.
        silent: Option<Duration>,
    },
    /// The command may have been written and may still be committed.
    #[error("no outcome after {0:?}; the command may still be committed")]
    TimedOut(Duration),
    /// The command was written, then this member lost the lead. It may still be committed.
    #[error("this member lost the lead before the outcome was known, {}", known(.leader.as_ref()))]
    LostLead {
        /// Who leads now, as far as it is known.
        leader: Option<Leader>,
    },
    /// Nothing was written.
    #[error("the command takes {bytes} bytes, at most {COMMAND_BYTES_MAX} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Raft has ended on this member; the process has to.
    #[error("Raft has ended on this member: {0}")]
    Fatal(String),
}

impl ProposeError {
    /// Whether the command may still be committed.
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::LostLead { .. } | Self::Fatal(_) => true,
            Self::NotLeader { .. } | Self::NoQuorum { .. } | Self::TooLarge { .. } => false,
        }
    }
}

fn known(leader: Option<&Leader>) -> String {
    leader.map_or_else(
        || "who leads is not known".to_owned(),
        |leader| format!("{} at {} leads", leader.name, leader.address),
    )
}

fn since(silent: &Option<Duration>) -> String {
    silent.map_or_else(
        || "as long as it leads".to_owned(),
        |silent| format!("{silent:?}"),
    )
}

/// Refuses unless this member leads and a quorum said so within the lease.
pub(crate) fn check_lead(core: &Core) -> Result<(), ProposeError> {
    if !core.leads() {
        return Err(ProposeError::NotLeader {
            leader: core.leader(),
        });
    }
    let now = clock::now();
    if !core.quorum_is_fresh(now) {
        return Err(ProposeError::NoQuorum {
            silent: core.quorum_ack(now).map(|acked| now.since(acked)),
        });
    }
    Ok(())
}

pub(crate) async fn propose(
    core: &Core,
    command: Command,
    deadline: Duration,
) -> Result<Applied, ProposeError> {
    let bytes = serde_json::to_vec(&command).map_or(usize::MAX, |json| json.len());
    if bytes > COMMAND_BYTES_MAX {
        return Err(ProposeError::TooLarge { bytes });
    }
    let written = async {
        let _shared = core.proposals.read().await;
        check_lead(core)?;
        Ok(core.raft.client_write(command).await)
    };
    let outcome = match tokio::time::timeout(deadline, written).await {
        Ok(outcome) => Ok(outcome?),
        Err(elapsed) => Err(elapsed),
    };
    match outcome {
        Ok(Ok(response)) => Ok(response.data),
        Err(_) => Err(ProposeError::TimedOut(deadline)),
        Ok(Err(RaftError::Fatal(error))) => Err(ProposeError::Fatal(error.to_string())),
        // openraft says the same where it refused the command and where it took it back out of the
        // log for another leader's: the worse of the two is assumed.
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            Err(ProposeError::LostLead {
                leader: core.leader(),
            })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(ProposeError::Fatal(error.to_string()))
        }
    }
}
