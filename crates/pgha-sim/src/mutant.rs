//! Rules broken on purpose: a simulator that does not see these sees nothing.

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A gate that was opened stays open.
    GateNeverCloses,
    /// The guard does not look at its clock.
    GuardSleeps,
    /// A started grantor does not wait for promises that it has forgotten.
    GrantorForgets,
    /// A member reports its end of WAL while its receiver still runs.
    ReceiverRuns,
    /// A step that changes the data directory leaves no marker that anybody reads.
    MarkerUnseen,
    /// What an old primary lost is not journaled.
    LossForgotten,
    /// What was settled before somebody promoted by hand counts afterwards.
    HandPromotionUnseen,
    /// The sidecar believes that it holds whatever lease it asked for.
    LeaseBelieved,
    /// Clocks run wrong by far more than is allowed for.
    ClocksRunAway,
    /// Every timeline carries the fork id that is committed for it, whoever wrote it.
    ForkIdsBelieved,
    /// A member that left the line is told to have ended where it left.
    TailHidden,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::GateNeverCloses,
        Self::GuardSleeps,
        Self::GrantorForgets,
        Self::ReceiverRuns,
        Self::MarkerUnseen,
        Self::LossForgotten,
        Self::HandPromotionUnseen,
        Self::LeaseBelieved,
        Self::ClocksRunAway,
        Self::ForkIdsBelieved,
        Self::TailHidden,
    ];
}
