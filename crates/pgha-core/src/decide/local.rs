//! What a member sees of its own node.

use crate::command::Opened;
use crate::journal::LostRange;
use crate::lease::{Deadlines, Hold};
use crate::lineage::Position;
use crate::report::{ReleaseNote, SlotReport};
use crate::{Epoch, Lsn, MemberName, Mono, Reason, SystemIdentifier, TimelineId};

/// What a member sees of its own node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Local {
    /// The data directory.
    pub data: Data,
    /// The process tree.
    pub tree: Tree,
    /// Its start was ordered, and the guard has not said yet that it began.
    pub starting: bool,
    /// The last answer of PostgreSQL since it was started.
    pub probe: Option<Probe>,
    /// The order to stop that was given last, and when.
    pub stopping: Option<(StopMode, Mono)>,
    /// The one job that runs.
    pub job: Option<Job>,
    /// The job that failed last, unless one succeeded since.
    pub failed: Option<JobFailure>,
    /// Starts of PostgreSQL that failed in a row with the data that is there: an answer, a clone and a
    /// rewind begin anew.
    pub start_failures: Failures,
    /// Whom the receiver was last told to follow. `None` with `settled`: nobody, and no receiver runs.
    pub upstream: Option<Upstream>,
    /// Since when the upstream is set without a streaming receiver.
    pub detached_since: Option<Mono>,
    /// What the data holds, read after the receiver was gone; void once anything is received again.
    pub settled: Option<Position>,
    /// The data directory went under the PostgreSQL that runs, or ran last.
    pub removed: bool,
    /// Where the WAL of the primary ended that this member ran last, where no PostgreSQL can tell any
    /// more: its data is gone, or does not start.
    pub gone: Option<(TimelineId, Lsn)>,
    /// The epoch to whose primary the data was rewound, until it has been replayed.
    pub rewound: Option<Epoch>,
    /// The lease that this process collects or holds.
    pub lease: LeaseView,
    /// The highest epoch on disk here.
    pub adopted: Epoch,
    /// The epoch that the gate is open for.
    pub gate_open: Option<Epoch>,
    /// When it was opened.
    pub gate_opened_at: Option<Mono>,
    /// The last epoch for which this process started or assumed a tree as primary.
    pub served: Option<Epoch>,
    /// The highest epoch that this process gave up or lost: never collected again.
    pub given_up: Epoch,
    /// An epoch whose tree is empty and whose secret is at hand.
    pub releasable: Option<Releasable>,
    /// What the promotion for an epoch came to, and when.
    pub promoted: Option<(Opened, Mono)>,
    /// The handover (by its Raft index) for which the checkpoint was made.
    pub prepared: Option<u64>,
    /// What this member knows as a grantor about the newest epoch.
    pub grant: LocalGrant,
    /// What was given up by the last rewind or clone.
    pub lost: Option<(Epoch, LostRange)>,
    /// Pages of its WAL. 0 where nothing is told in pages.
    pub wal_page_bytes: u64,
    /// This process was asked to stop.
    pub shutting_down: bool,
}

/// The data directory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Data {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// There is none, or an empty one.
    Missing,
    /// A step that changes it was begun and not finished: it must not be started (P8).
    Unfinished,
    /// It cannot be used, and must not be touched.
    Unusable(Reason),
    /// PostgreSQL's.
    Cluster(DataCluster),
}

/// What `pg_controldata` and `pg_wal` say of a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DataCluster {
    /// Whose it is.
    pub system_identifier: SystemIdentifier,
    /// Of the last checkpoint.
    pub timeline: TimelineId,
    /// End of WAL of a clean shutdown.
    pub shutdown_lsn: Option<Lsn>,
    /// End of WAL as read from the files of a primary that ended otherwise.
    pub end_lsn: Option<Lsn>,
    /// Start of the WAL that a crash recovery would replay.
    pub redo_lsn: Lsn,
    /// A history file of a higher timeline lies in `pg_wal`: unpinned, PostgreSQL would take it for
    /// its target whether it has reached the fork or not (faults M25).
    pub history_ahead: bool,
    /// It was last a primary's: what was settled about it before does not hold any more.
    pub was_primary: bool,
    /// This member made it for a new cluster, and it never served: there is nothing in it.
    pub never_served: bool,
    /// It is a copy that PostgreSQL has not begun to replay: nothing was ever written to it here.
    pub never_replayed: bool,
    /// It was rewound to the primary of this epoch, and has not been consistent since.
    pub rewound: Option<Epoch>,
}

/// The process tree.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Tree {
    /// Not known yet: leftovers may run.
    #[default]
    Unknown,
    /// Proven empty.
    Empty,
    /// Started as a standby.
    Standby {
        /// When.
        since: Mono,
        /// Kept on this timeline.
        pinned: Option<TimelineId>,
    },
    /// Started as, or become, the primary of an epoch.
    Primary {
        /// Which.
        epoch: Epoch,
        /// When.
        since: Mono,
    },
}

/// What PostgreSQL answered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Probe {
    /// When.
    pub at: Mono,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Its timeline.
    pub timeline: TimelineId,
    /// WAL on disk: received, or flushed.
    pub received: Lsn,
    /// WAL replayed, or flushed.
    pub replayed: Lsn,
    /// Whether its receiver streams.
    pub streaming: bool,
    /// Of a primary: the timeline of the last checkpoint.
    pub checkpointed: Option<TimelineId>,
    /// Of a primary: its slots.
    pub slots: Vec<SlotReport>,
    /// Parameters that wait for a restart.
    pub restart_pending: Vec<String>,
    /// Of a standby: it replays nothing.
    pub replay_paused: bool,
}

/// A standby on which one of these is lower than on its primary pauses its replay until it is started anew
/// (manual, 27.4.3 "Administrator's Overview").
const AS_HIGH_AS_THE_PRIMARYS: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];

impl Probe {
    /// Replay stands still, and what the settings ask for may be why.
    pub fn settings_too_low(&self) -> bool {
        let matters = |name: &String| AS_HIGH_AS_THE_PRIMARYS.contains(&name.as_str());
        self.replay_paused && self.restart_pending.iter().any(matters)
    }
}

/// How PostgreSQL is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMode {
    /// SIGINT: sessions are ended, a shutdown checkpoint is written.
    Fast,
    /// SIGQUIT: as after a crash.
    Immediate,
    /// SIGKILL to the whole tree.
    Kill,
}

/// Work that takes longer than a step of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// `initdb`.
    Initialize,
    /// End the receiver and read what the data holds.
    Settle,
    /// Promote for an epoch to its timeline.
    Promote {
        /// The epoch.
        epoch: Epoch,
    },
    /// Copy from a member.
    Clone {
        /// From whom.
        from: MemberName,
        /// For which epoch: its end aborts the copy.
        epoch: Epoch,
    },
    /// Rewind to the primary.
    Rewind {
        /// The primary.
        from: MemberName,
        /// For which epoch.
        epoch: Epoch,
    },
    /// A checkpoint on the primary: for a handover, by its Raft index, or after a promotion.
    Checkpoint {
        /// The handover.
        handover: Option<u64>,
    },
}

impl JobKind {
    /// Whether failures of both are failures in a row: a copy is the same work whomever it copies, and
    /// a handover, whose time is short, does not wait for what failed before it.
    pub(super) fn counts_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Checkpoint { handover: this }, Self::Checkpoint { handover: that }) => {
                this == that
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A job that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// When it began.
    pub since: Mono,
    /// How far it is, for people.
    pub progress: Option<String>,
    /// It was told to end, and has not ended yet.
    pub cancelled: bool,
}

/// A job that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// What.
    pub kind: JobKind,
    /// When.
    pub at: Mono,
    /// How often in a row.
    pub count: u32,
    /// Why.
    pub detail: String,
}

/// Failures in a row.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// The last one.
    pub at: Mono,
    /// Why.
    pub detail: String,
}

/// Whom a receiver follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Who.
    pub node: MemberName,
    /// In which epoch that was right.
    pub epoch: Epoch,
    /// The slot there.
    pub slot: String,
    /// Its PostgreSQL, `host:port`.
    pub address: String,
}

/// The lease of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The epoch it is for; none when nothing is collected.
    pub epoch: Epoch,
    /// What it allows now.
    pub hold: Hold,
    /// The last deadlines, also when it is over.
    pub deadlines: Option<Deadlines>,
    /// When it was first held.
    pub held_since: Option<Mono>,
}

impl Default for LeaseView {
    fn default() -> Self {
        Self {
            epoch: Epoch::NONE,
            hold: Hold::Over,
            deadlines: None,
            held_since: None,
        }
    }
}

impl LeaseView {
    /// Whether the lease of `epoch` is held.
    pub fn holds(&self, epoch: Epoch) -> bool {
        self.epoch == epoch && matches!(self.hold, Hold::Held(_))
    }
}

/// What this member knows as a grantor.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LocalGrant {
    /// The epoch that this is about.
    pub epoch: Epoch,
    /// From when on its holder is silent.
    pub silent_at: Option<Mono>,
    /// Its release.
    pub released: Option<ReleaseNote>,
    /// The highest flush position told.
    pub flush_lsn: Option<Lsn>,
    /// Whether that is all that was ever told here.
    pub remembers: bool,
    /// Whether the newest promise is for it.
    pub promised: bool,
}

/// See [`Local::releasable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releasable {
    /// The epoch.
    pub epoch: Epoch,
    /// What made PostgreSQL end, as the guard saw it.
    pub cause: String,
    /// When that was heard.
    pub at: Mono,
}
