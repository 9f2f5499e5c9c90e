//! One node: its disk, its PostgreSQL, its guard, and the sidecar process that may or may not run.

use std::collections::BTreeMap;

use pgha_core::decide::{Heard, JobKind, Local, Me, RaftView, Since, StopMode, Why};
use pgha_core::gate::GateSetting;
use pgha_core::lease::{Deadlines, Grantor, Hold, Holder};
use pgha_core::report::{MemberReport, ReleaseNote};
use pgha_core::{
    ClusterState, Epoch, Generation, Lsn, MemberKind, MemberName, Mono, RaftId, TimelineId,
};

use crate::event::Event;
use crate::raft::Tail;
use crate::time::{Clock, Nanos};
use crate::wal::DataDirectory;

/// What the lease's secret is; the simulator needs no strength.
pub type ReleaseSecret = [u8; 16];

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: MemberName,
    /// Data or witness.
    pub kind: MemberKind,
    /// Its clock.
    pub clock: Clock,
    /// Whether it has power.
    pub up: bool,
    /// Whether everything on it stands still.
    pub frozen: bool,
    /// Whether its sidecar alone stands still.
    pub sidecar_frozen: bool,
    /// What happens when it thaws.
    pub deferred: Vec<Event>,
    /// What survives a crash.
    pub disk: Disk,
    /// The process tree of PostgreSQL.
    pub postgres: Option<Postgres>,
    /// The guard.
    pub guard: Guard,
    /// The sidecar.
    pub sidecar: Option<Sidecar>,
    /// A backend that nobody killed works on, for this epoch and until then.
    pub straggler: Option<(Epoch, Nanos)>,
    /// It was ever wiped.
    pub wiped: bool,
    /// When it was wiped last. What its data had before cannot be told any more, unless `end_held`.
    pub destroyed_at: Option<Nanos>,
    /// Somebody ran `pg_ctl promote` on it.
    pub promoted_by_hand: bool,
    /// Its data goes as soon as its PostgreSQL has ended.
    pub removal: bool,
    /// The sidecar that held the newest WAL open when the data was removed still runs.
    pub end_held: bool,
    /// When it thawed last.
    pub thawed: Nanos,
    /// Commits are applied late here.
    pub apply_slow: bool,
    /// Nothing reaches the disk of its Raft store.
    pub disk_stalls: bool,
    /// It stays without power until somebody has gone on without it.
    pub lost: bool,
}

/// What survives a crash of the node.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Of the cluster that its store is for.
    pub generation: Generation,
    /// Its name in the Raft group; none while it has no place there.
    pub raft_id: Option<RaftId>,
    /// Its store's name: another one once the store was lost.
    pub store: String,
    /// The highest adopted epoch.
    pub adopted: Epoch,
    /// How far a holder told that it came.
    pub told: Option<(Epoch, Lsn)>,
    /// The highest Raft term.
    pub term: u64,
    /// How many entries of the log are stored.
    pub stored: usize,
    /// What is stored after them and may never be committed.
    pub tail: Option<Tail>,
    /// How many of them were applied.
    pub applied: usize,
    /// What they came to.
    pub state: ClusterState,
    /// PostgreSQL's directory.
    pub data: Option<DataDirectory>,
    /// A step that changes it was begun and not finished.
    pub marker: bool,
    /// It was made by our own `initdb` and holds nothing yet: should the cluster begin elsewhere, it
    /// may be replaced.
    pub initialized: bool,
}

/// PostgreSQL's process tree.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Tells one start from the next.
    pub id: u64,
    /// The epoch that the guard holds it for as a primary.
    pub epoch: Option<Epoch>,
    /// Kept on its timeline.
    pub pinned: bool,
    /// It accepts connections.
    pub ready: bool,
    /// It replays, and is not consistent yet.
    pub recovering: bool,
    /// It is no standby.
    pub writable: bool,
    /// It was ordered to stop.
    pub stopping: Option<StopMode>,
    /// It answers nobody, and ends only when killed.
    pub hung: bool,
    /// Its postmaster is dead, its backends work on until somebody kills them.
    pub headless: bool,
    /// Whom its receiver streams from, where it does.
    pub receiver: Option<Receiver>,
}

/// A receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// From which node.
    pub from: usize,
    /// The slot there.
    pub slot: String,
    /// The start of PostgreSQL there; none while it is not connected.
    pub attached: Option<u64>,
}

/// The guard of a node.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Whether the process lives.
    pub alive: bool,
    /// Whether it alone stands still.
    pub frozen: bool,
    /// Its deadline came while it stood still.
    pub woken: Option<u64>,
    /// When it empties the tree, on its node's clock.
    pub kill_at: Option<Mono>,
    /// The epoch that it can release.
    pub secret: Option<(Epoch, ReleaseSecret)>,
}

/// A job and its number.
#[derive(Clone, Debug)]
pub struct RunningJob {
    /// Late ends of an earlier job carry another one.
    pub id: u64,
    /// What.
    pub kind: JobKind,
    /// The timeline of the data, where nobody was known to have assigned it when it began.
    pub unassigned: Option<TimelineId>,
}

/// The sidecar's memory.
#[derive(Debug)]
pub struct Sidecar {
    /// Who.
    pub me: Me,
    /// What it sees.
    pub local: Local,
    /// The lease that it collects or holds.
    pub holder: Option<Holder<u64>>,
    /// When the lease was first held.
    pub held_since: Option<Mono>,
    /// Proves that its epoch is over.
    pub secret: Option<(Epoch, ReleaseSecret)>,
    /// The votes it gives.
    pub grantor: Grantor<u64>,
    /// Releases that it verified.
    pub notes: BTreeMap<Epoch, ReleaseNote>,
    /// The gate.
    pub gate: GateSetting,
    /// What others said.
    pub peers: BTreeMap<MemberName, Heard>,
    /// When they sent it.
    pub reported: BTreeMap<MemberName, Nanos>,
    /// When things were applied.
    pub since: Since,
    /// Raft, as far as it knows.
    pub raft: RaftMemory,
    /// A decision is due.
    pub decision_due: bool,
    /// Only the newest wake counts.
    pub wake: u64,
    /// What it told last, and when.
    pub told: Option<(MemberReport, Mono)>,
    /// The job that runs.
    pub job: Option<RunningJob>,
    /// The adoption that is being written, for a grant.
    pub adopting: Option<Epoch>,
    /// What a holder told is being written.
    pub keeping: bool,
    /// Since when PostgreSQL has not answered.
    pub silent_since: Option<Mono>,
    /// Why it is as it is.
    pub why: Why,
    /// The data directory is being read after the tree ended.
    pub examining: bool,
    /// A primary ended last, and the end of its WAL can be read.
    pub reads_end: bool,
    /// Sessions are being ended for a handover.
    pub draining: bool,
}

/// What a member remembers of the Raft group.
#[derive(Clone, Debug, Default)]
pub struct RaftMemory {
    /// Who leads it, where known, and when that was last heard.
    pub leader: Option<(usize, Mono)>,
    /// Of a leader: when each follower last answered.
    pub answers: BTreeMap<RaftId, Mono>,
    /// What the leader told to be committed.
    pub committed: usize,
    /// A current leader has told it in this process' life.
    pub told: bool,
    /// When leadership was last offered.
    pub transfer_tried: Option<Mono>,
    /// The proposal that is under way, and when it was made.
    pub proposal: Option<(u64, Mono)>,
    /// The view that decisions get.
    pub view: RaftView,
}

impl Node {
    /// Its clock's reading.
    pub fn now(&self, now: Nanos) -> Mono {
        self.clock.read(now)
    }

    /// Whether its sidecar can do something right now.
    pub fn sidecar_runs(&self) -> bool {
        self.up && !self.frozen && !self.sidecar_frozen && self.sidecar.is_some()
    }

    /// Whether its PostgreSQL can do something right now.
    pub fn postgres_runs(&self) -> bool {
        self.up && !self.frozen && self.postgres.as_ref().is_some_and(|p| p.ready && !p.hung)
    }

    /// Whether its PostgreSQL could take a write.
    pub fn writable(&self) -> bool {
        self.postgres_runs() && self.postgres.as_ref().is_some_and(|p| p.writable)
    }
}

impl Sidecar {
    /// The deadlines of `epoch`, while it is held.
    pub fn deadlines(&mut self, epoch: Epoch, now: Mono) -> Option<Deadlines> {
        let holder = self.holder.as_mut().filter(|h| h.epoch() == epoch)?;
        match holder.hold(now) {
            Hold::Held(deadlines) => Some(deadlines),
            Hold::Collecting | Hold::Over => None,
        }
    }
}
