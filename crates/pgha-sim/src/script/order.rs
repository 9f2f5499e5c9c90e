//! What a script can order.

use crate::time::Nanos;

/// A member: by its name, by its role at this moment, or by a name that the script gave.
pub(super) type Who = String;

/// A part of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Node,
    Sidecar,
    Guard,
    Postgres,
}

/// Work of a member beside its loop, that may come to nothing half way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Clone,
    Rewind,
    Promotion,
    Checkpoint,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The primary of this epoch or a later one serves writes.
    Open(u64),
    /// No gate lets a write through.
    NobodyWrites,
    /// One primary, everybody else streams.
    Whole,
    /// A member's PostgreSQL is gone.
    Gone(Who),
    /// A member has begun this, and is not done with it.
    Working(Who, Work),
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Runs until the cluster is whole; how it got there is not told.
    Form,
    /// A name for whoever this is now.
    Let(String, Who),
    Run(Nanos),
    Until(Goal, Nanos),
    Kill(Part, Who),
    /// Somebody stops PostgreSQL in peace, past the sidecar.
    StopPostgres(Who),
    /// A killed node or sidecar comes back.
    Start(Who),
    Freeze(Part, Who),
    Thaw(Who),
    /// Not heard any more: the first by the second.
    CutOneWay(Who, Who),
    Cut(Who, Who),
    CutOff(Who),
    /// All links carry messages again.
    Join,
    /// The node dies, and its data directory is gone when it is back.
    Wipe(Who),
    /// The node dies, and its Raft store is gone when it is back.
    WipeStore(Who),
    /// Under a running primary.
    RemoveData(Who),
    /// A primary removes what none of those keeps who stream from it right now.
    RemoveWal(Who),
    /// What the member is at comes to nothing half way.
    Fail(Work, Who),
    /// Nothing reaches the disk of the Raft store.
    StallDisk(Who),
    MendDisk(Who),
    PromoteByHand(Who),
    /// At the next promotion somebody promotes another one by hand to the same timeline.
    PromoteTwin,
    Hang(Who),
    Answer(Who),
    Lead(Who),
    Switchover(Option<Who>),
    Failover {
        to: Who,
        allow_data_loss: bool,
    },
    Set(String, String),
    /// `quorum recover` on this member.
    RecoverQuorum(Who),
    /// Everything is mended.
    Heal,
    /// What became of the acknowledged writes.
    Writes,
}
