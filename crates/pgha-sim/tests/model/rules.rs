//! The rules that are checked, and naive ones that have to fail.

/// Which rules a model of the lease follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Those of `pgha-core`.
    #[default]
    Ours,
    /// A quorum of reports that the holder is silent permits the next primary.
    SilenceProves,
    /// A voter that starts promises at once.
    NoStartWait,
    /// The lease runs from the answer.
    CountsFromAnswer,
    /// The adopted epoch is not on disk.
    EpochNotKept,
    /// A changed membership is not waited for; only the ids have to be equal.
    MembershipIdAlone,
    /// While the voters change, a majority of the new ones is enough.
    OnlyTheNewHalf,
    /// Learners are asked by a holder that has no lease yet, and what they promise it outlasts a change
    /// of the voters.
    LearnersGrant,
    /// A started voter waits as long as the settings say that it has read itself.
    OwnSettingsCount,
    /// A started voter waits for `lease_ms`, and not for the longest that it ever was.
    CeilingForgotten,
    /// The release is sent when the stop begins.
    ReleasedBeforeEmpty,
}
