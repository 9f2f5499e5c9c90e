//! What can break, and how each fault ends.

/// A kind of fault. Where it strikes is drawn when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The sidecar dies and comes back.
    SidecarDies,
    /// The sidecar dies between two actions of a decision.
    SidecarDiesDeciding,
    /// The node loses power between two actions of a decision.
    NodeDiesDeciding,
    /// The node loses power and comes back.
    NodeDies,
    /// The sidecar stands still.
    SidecarFreezes,
    /// Everything on the node stands still.
    NodeFreezes,
    /// PostgreSQL's tree dies.
    PostgresDies,
    /// PostgreSQL answers nothing and cannot be stopped in peace.
    PostgresHangs,
    /// The guard dies; its sidecar empties the tree.
    GuardDies,
    /// Two members do not hear each other.
    PairCut,
    /// One member is not heard by another.
    OneWayCut,
    /// A member is alone.
    NodeCut,
    /// Another raft leader is elected.
    LeaderChanges,
    /// A state machine is slow.
    ApplySlow,
    /// A data directory is gone.
    DataWiped,
    /// Somebody promotes a replica by hand.
    HandPromotion,
    /// Somebody promotes a replica by hand, to the very timeline that another is being promoted to.
    HandPromotionMeanwhile,
    /// An operator asks for a switchover.
    Switchover,
    /// An operator orders a failover.
    OperatorFailover,
    /// An operator changes settings.
    Settings,
    /// The sidecar is asked to stop and started again.
    Restart,
    /// Every sidecar but the primary's dies at once; the primary is cut off, and an operator is quick.
    OthersDie,
    /// The guard alone stands still.
    GuardFreezes,
    /// Nothing reaches the disk of a Raft store.
    DiskStalls,
    /// A node loses power, and its Raft store with it.
    StoreWiped,
    /// Most members are lost, and an operator goes on with one that is left.
    QuorumLost,
}

impl Fault {
    /// What takes nothing from a primary: neither the raft leader's end nor a slow log nor a stalled disk.
    pub const SPARE_PRIMARIES: [Self; 3] = [Self::LeaderChanges, Self::ApplySlow, Self::DiskStalls];

    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::SidecarDies,
        Self::SidecarDiesDeciding,
        Self::NodeDiesDeciding,
        Self::NodeDies,
        Self::SidecarFreezes,
        Self::NodeFreezes,
        Self::PostgresDies,
        Self::PostgresHangs,
        Self::GuardDies,
        Self::PairCut,
        Self::OneWayCut,
        Self::NodeCut,
        Self::LeaderChanges,
        Self::ApplySlow,
        Self::DataWiped,
        Self::HandPromotion,
        Self::HandPromotionMeanwhile,
        Self::Switchover,
        Self::OperatorFailover,
        Self::Settings,
        Self::Restart,
        Self::OthersDie,
        Self::GuardFreezes,
        Self::DiskStalls,
        Self::StoreWiped,
        Self::QuorumLost,
    ];
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// The link carries messages again.
    Link(usize, usize),
    /// The sidecar goes on.
    Sidecar(usize),
    /// The node goes on.
    Node(usize),
    /// PostgreSQL answers again, if it is still that one.
    Postgres(usize, u64),
    /// The state machine is quick again.
    Apply(usize),
    /// The disk takes what waited.
    Disk(usize),
    /// The guard goes on, if it is still that of this PostgreSQL.
    Guard(usize, u64),
    /// The node has power again.
    Boot(usize),
}
