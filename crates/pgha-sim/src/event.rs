//! What can happen, and the queue of it.

use std::collections::BTreeMap;

use pgha_core::decide::StopMode;
use pgha_core::lease::Renewal;
use pgha_core::report::{MemberReport, ReleaseNote};
use pgha_core::{Command, Epoch, Generation, Lsn, Nonce, RaftId};

use crate::fault::Fault;
use crate::node::ReleaseSecret;
use crate::time::Nanos;

/// Something that happens at one moment.
#[derive(Clone, Debug)]
pub enum Event {
    /// A process of a node does something.
    Node {
        /// Which node.
        node: usize,
        /// Which of its processes: it stands still while that is frozen.
        layer: Layer,
        /// What.
        what: NodeEvent,
    },
    /// The Raft group looks after itself.
    RaftTick,
    /// A proposal reaches a quorum, or does not.
    Commit(Proposal),
    /// Clients write.
    Clients,
    /// A write returns through the gate that it entered by.
    Acknowledge(Session),
    /// Something breaks.
    Fault(Fault),
    /// The next planned fault strikes.
    Planned(usize),
    /// A fault ends.
    Mend(crate::fault::Mend),
    /// Everything is mended.
    Heal,
    /// An operator goes on with this member alone, or tries so often again.
    Recover(usize, u32),
}

/// A client's session with a commit that it waits for.
#[derive(Clone, Debug)]
pub struct Session {
    /// The gate's node.
    pub node: usize,
    /// The sidecar process.
    pub nonce: Nonce,
    /// The start of PostgreSQL.
    pub postgres: u64,
    /// The epoch of the session.
    pub epoch: Epoch,
    /// Its record.
    pub index: usize,
    /// Its chain.
    pub chain: u64,
}

/// Who of a node acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The sidecar.
    Sidecar,
    /// The guard or PostgreSQL.
    Tree,
}

/// What a process of a node does.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// The sidecar starts.
    SidecarStarts,
    /// Leftovers of an earlier sidecar are gone.
    LeftoversGone(Nonce),
    /// The decision's wake time came.
    Wake(Nonce, u64),
    /// A decision is due.
    Decide(Nonce),
    /// A renewal is due.
    Renew(Nonce, Epoch),
    /// The adopted epoch is on disk.
    Adopted(Nonce, Epoch),
    /// What a holder told is on disk.
    Kept(Nonce, (Epoch, Lsn)),
    /// A report is due.
    Tell(Nonce),
    /// PostgreSQL is probed, again and again.
    Probe(Nonce),
    /// PostgreSQL is probed because something happened.
    ProbeOnce(Nonce),
    /// Committed entries are applied.
    Apply(Nonce),
    /// A step of a job.
    Job(Nonce, u64, u8),
    /// A message arrives, with the generation that its sender was of.
    Receive(usize, Generation, Box<Message>),
    /// A call was refused for this later generation.
    GenerationTold(Nonce, Generation),
    /// The data directory was read.
    Examined(Nonce),
    /// The sidecar sees that the data directory is gone.
    DataRemoved(Nonce),
    /// A proposal's outcome is known here.
    Proposed(Nonce, u64),
    /// The guard says that the start began.
    Started(Nonce),
    /// The guard says that the tree is empty.
    TreeEmpty(Nonce, Option<Epoch>, String),
    /// The address of a member refused a connection.
    Refused(Nonce, usize),
    /// PostgreSQL accepts connections.
    PostgresReady(u64),
    /// PostgreSQL is gone.
    PostgresEnds(u64, StopMode, String),
    /// PostgreSQL leaves recovery.
    PostgresPromotes(u64, u64),
    /// The receiver looks for more.
    Stream(u64),
    /// Somebody promotes it without asking.
    PromotedByHand,
    /// The guard's deadline.
    GuardWakes(u64),
    /// The guard's stamp has been missing for a third of a lease.
    GuardMissed(u64),
    /// An orderly end of the sidecar: leaves once nothing runs, or when its patience is over.
    Leaves(Nonce, u32),
}

/// What goes over the network.
#[derive(Clone, Debug)]
pub enum Message {
    /// A holder renews.
    Renewal {
        /// Whom it asks.
        to: RaftId,
        /// Its number.
        send: u64,
        /// What it says.
        renewal: Renewal<u64>,
    },
    /// A grantor's answer.
    Answer {
        /// Whose answer.
        by: RaftId,
        /// For which process.
        nonce: Nonce,
        /// For which epoch.
        epoch: Epoch,
        /// For which send.
        send: u64,
        /// Granted or not.
        granted: bool,
        /// The highest epoch that it adopted.
        adopted: Epoch,
    },
    /// A member's report, and when it was sent.
    Report(Nanos, Box<MemberReport>),
    /// A holder's proof.
    Release {
        /// The epoch.
        epoch: Epoch,
        /// Its secret.
        secret: ReleaseSecret,
        /// What came with it.
        note: ReleaseNote,
    },
    /// A raft leader lives.
    Beat {
        /// Its term.
        term: u64,
        /// What it knows to be committed.
        committed: usize,
        /// A quorum has answered it lately.
        fresh: bool,
    },
    /// A follower answers.
    BeatAnswer {
        /// Which.
        by: RaftId,
        /// Its term.
        term: u64,
    },
}

/// A command on its way into the log.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Who proposed it.
    pub by: usize,
    /// In which process.
    pub nonce: Nonce,
    /// Its number there.
    pub number: u64,
    /// In which term.
    pub term: u64,
    /// What.
    pub command: Command,
    /// How often it has been tried.
    pub tries: u32,
}

/// Events in order of time, then of their making.
#[derive(Debug, Default)]
pub struct Queue {
    events: BTreeMap<(Nanos, u64), Event>,
    next: u64,
}

impl Queue {
    /// Adds an event.
    pub fn push(&mut self, at: Nanos, event: Event) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    /// How many were ever added.
    pub fn pushed(&self) -> u64 {
        self.next
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<(Nanos, Event)> {
        let ((at, _), event) = self.events.pop_first()?;
        Some((at, event))
    }
}
