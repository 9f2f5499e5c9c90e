//! How patient this member's Raft is.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::runtime::ANSWER_DEADLINE;

/// Timing and size of the log. Every member of a cluster should have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often a leader is heard of. Default 150 ms.
    pub heartbeat: Duration,
    /// A leader that was heard of within it is not stood against (Raft thesis, 6.4.1), one that had
    /// no answer of a quorum within it takes no commands. Default 600 ms.
    pub lease: Duration,
    /// A member that has heard nothing for a lease waits a random time between these two, so that
    /// not all stand at once (Raft paper, 5.2). Default 50 to 350 ms.
    pub extra_patience: (Duration, Duration),
    /// A snapshot is taken each time so many entries were applied. Default 500.
    pub snapshot_every: u64,
    /// Whether the store may be an old copy of itself: then the member neither votes nor stands before
    /// [`RaftNode::vouched_for`](crate::RaftNode::vouched_for), or until another member has reached it
    /// for as long as a started one grants nothing. Default no.
    pub in_doubt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            lease: Duration::from_millis(600),
            extra_patience: (Duration::from_millis(50), Duration::from_millis(350)),
            snapshot_every: 500,
            in_doubt: false,
        }
    }
}

/// Options that would make a healthy leader look silent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Too few heartbeats to a lease.
    #[error(
        "a Raft lease of {lease:?} holds fewer than {HEARTBEATS_PER_LEASE_MIN} heartbeats of \
         {heartbeat:?}: one lost packet would start an election; raise the lease or lower the heartbeat"
    )]
    LeaseShort {
        /// As given.
        lease: Duration,
        /// As given.
        heartbeat: Duration,
    },
    /// Shorter than openraft's clock can tick.
    #[error("a heartbeat of {0:?} is outside of 20 ms to 5 s")]
    Heartbeat(Duration),
    /// A second try of an unanswered append would come too late.
    #[error("a Raft lease of {0:?} is shorter than an append may take twice, {twice:?}", twice = ANSWER_DEADLINE * 2)]
    LeaseBelowAnswers(Duration),
    /// The lower end above the upper one.
    #[error("extra patience from {0:?} to {1:?} is empty")]
    Patience(Duration, Duration),
    /// Never.
    #[error("a snapshot every 0 entries is not possible, 1 is the least")]
    Snapshot,
}

const HEARTBEATS_PER_LEASE_MIN: u32 = 3;
/// Entries that stay behind a snapshot, so that a member that was away for a moment needs none.
const ENTRIES_KEPT: u64 = 200;
/// Entries in one append: with the largest commands still well below gRPC's limit of 4 MiB.
const ENTRIES_PER_APPEND: u64 = 64;

impl Options {
    /// openraft's settings that come to these.
    pub(crate) fn config(&self, cluster: &str) -> Result<Config, OptionsError> {
        self.check()?;
        // Its clock ticks every 3/2 heartbeat intervals, and heartbeats go out on ticks.
        let interval_ms = self.tick_ms();
        Ok(Config {
            cluster_name: cluster.to_owned(),
            heartbeat_interval: interval_ms,
            // Elections are our own. What is left of this setting is a lease of its own in which
            // openraft refuses votes: as short as it may be, the real lease is kept in front of it.
            election_timeout_min: interval_ms + 1,
            election_timeout_max: interval_ms + 2,
            enable_elect: false,
            max_payload_entries: ENTRIES_PER_APPEND,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: ENTRIES_KEPT,
            replication_lag_threshold: self.snapshot_every + ENTRIES_KEPT,
            purge_batch_size: 64,
            ..Config::default()
        })
    }

    /// How long after an append openraft itself refuses votes.
    pub(crate) fn engine_lease(&self) -> Duration {
        Duration::from_millis(self.tick_ms() + 2)
    }

    fn tick_ms(&self) -> u64 {
        u64::try_from(self.heartbeat.as_millis() * 2 / 3).unwrap_or(u64::MAX)
    }

    fn check(&self) -> Result<(), OptionsError> {
        let &Self {
            heartbeat, lease, ..
        } = self;
        let (least, most) = self.extra_patience;
        if heartbeat < Duration::from_millis(20) || heartbeat > Duration::from_secs(5) {
            return Err(OptionsError::Heartbeat(heartbeat));
        }
        if lease < heartbeat * HEARTBEATS_PER_LEASE_MIN {
            return Err(OptionsError::LeaseShort { lease, heartbeat });
        }
        if lease < ANSWER_DEADLINE * 2 {
            return Err(OptionsError::LeaseBelowAnswers(lease));
        }
        if least >= most {
            return Err(OptionsError::Patience(least, most));
        }
        if self.snapshot_every == 0 {
            return Err(OptionsError::Snapshot);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openraft_accepts_what_the_options_come_to() {
        for heartbeat_ms in [20, 100, 200] {
            let options = Options {
                heartbeat: Duration::from_millis(heartbeat_ms),
                ..Options::default()
            };
            let config = options.config("main").unwrap().validate().unwrap();
            let tick_ms = config.heartbeat_interval * 3 / 2;
            assert!(
                (heartbeat_ms - 2..=heartbeat_ms).contains(&tick_ms),
                "{tick_ms}"
            );
            let engine_lease = u128::from(config.election_timeout_max);
            assert_eq!(options.engine_lease().as_millis(), engine_lease);
        }
    }

    #[test]
    fn refuses_what_would_make_a_healthy_leader_look_silent() {
        let ms = Duration::from_millis;
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            options.config("main").unwrap_err()
        };
        assert!(matches!(
            with(|options| options.heartbeat = Duration::from_millis(250)),
            OptionsError::LeaseShort { .. }
        ));
        assert_eq!(
            with(|options| options.lease = Duration::from_millis(500)),
            OptionsError::LeaseBelowAnswers(ms(500))
        );
        assert_eq!(
            with(|options| options.heartbeat = Duration::ZERO),
            OptionsError::Heartbeat(ms(0))
        );
        assert_eq!(
            with(|options| options.snapshot_every = 0),
            OptionsError::Snapshot
        );
        assert_eq!(
            with(|options| options.extra_patience.1 = Duration::ZERO),
            OptionsError::Patience(ms(50), ms(0))
        );
    }
}
