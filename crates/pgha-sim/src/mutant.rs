//! Rules broken on purpose: a simulator that does not see these sees nothing.

use crate::fault::Fault;

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
    /// The holder needs nobody's grant but its own.
    QuorumOfOne,
    /// The lease is released when PostgreSQL is ordered to stop, not when nothing of it is left.
    ReleasedEarly,
    /// What waited in a proxy that stood still goes out without another look at the gate.
    GateUncheckedAfterResume,
    /// The guard kills the postmaster and takes the tree for empty.
    PostmasterOnly,
    /// A promotion takes the timeline that PostgreSQL would take by itself.
    TimelineReused,
    /// A member that lost its Raft store votes under its old id.
    OldIdVotes,
    /// An entry is acknowledged before it is flushed.
    AppendNotFlushed,
    /// A replica is promoted however far it is behind.
    LagUnchecked,
    /// A voter keeps nothing of what it was told, and a started one takes it for all that there was.
    ToldForgotten,
    /// Rewound data answers before it has replayed the WAL up to what its pages hold.
    RewoundAnswersEarly,
    /// Nobody looks at the generation of a call, nor asks for it before he votes.
    OldGenerationVotes,
    /// Whoever chooses does not see the report of the one that came furthest.
    BestPassedOver,
    /// A grantor obeys whoever asks for an earlier epoch than it has adopted.
    OldEpochGranted,
    /// A standby attaches to the primary before their lines are compared.
    AttachedUncompared,
    /// A wait that counts from the beginning of a phase has always just begun.
    WaitsForEver,
    /// Any standby that has it lets a commit go.
    LetGoByOne,
    /// A raft leader takes a voter that is slow to report for one that hears nothing of the primary.
    SlowForSilent,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 28] = [
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
        Self::QuorumOfOne,
        Self::ReleasedEarly,
        Self::GateUncheckedAfterResume,
        Self::PostmasterOnly,
        Self::TimelineReused,
        Self::OldIdVotes,
        Self::AppendNotFlushed,
        Self::LagUnchecked,
        Self::ToldForgotten,
        Self::RewoundAnswersEarly,
        Self::OldGenerationVotes,
        Self::BestPassedOver,
        Self::OldEpochGranted,
        Self::AttachedUncompared,
        Self::WaitsForEver,
        Self::LetGoByOne,
        Self::SlowForSilent,
    ];

    /// What alone breaks in the runs that can see it, where it is not to be anything.
    pub fn seen_where(self) -> Option<Vec<Fault>> {
        let spare_primaries = || Fault::SPARE_PRIMARIES.to_vec();
        (self == Self::SlowForSilent).then(spare_primaries)
    }

    /// What a run says that sees it, as the beginning or a part of [`Failure`](crate::check::Failure)'s text:
    /// whatever else goes wrong in such a run does not prove that this is looked for.
    pub fn seen_as(self) -> &'static [&'static str] {
        match self {
            Self::LagUnchecked | Self::ToldForgotten => &["P3 bound"],
            Self::ReceiverRuns | Self::BestPassedOver | Self::TailHidden => &["P4 "],
            Self::GateNeverCloses
            | Self::GuardSleeps
            | Self::GrantorForgets
            | Self::QuorumOfOne
            | Self::ReleasedEarly
            | Self::PostmasterOnly
            | Self::OldEpochGranted => &["P5 "],
            Self::LeaseBelieved => &["P6 "],
            Self::HandPromotionUnseen | Self::ForkIdsBelieved | Self::AttachedUncompared => {
                &["P7 "]
            }
            Self::MarkerUnseen => &["P8 "],
            Self::ClocksRunAway => &["P5 ", "P3 bound"],
            Self::GateUncheckedAfterResume => &["acknowledged a write of epoch"],
            Self::OldIdVotes | Self::AppendNotFlushed => &["committed entries"],
            Self::OldGenerationVotes => &["which is over"],
            Self::SlowForSilent => &["P11 "],
            Self::LetGoByOne => &["that standbys had confirmed"],
            Self::RewoundAnswersEarly => &["that every data member had flushed"],
            // A timeline that was not assigned is refused, and a tail that nobody tells is waited for.
            Self::TimelineReused | Self::LossForgotten | Self::WaitsForEver => &["P10 "],
        }
    }
}
