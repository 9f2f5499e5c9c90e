//! What a decision is made from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::local::Local;
use crate::journal::Step;
use crate::lease::Quorums;
use crate::report::MemberReport;
use crate::{ClusterState, ForkId, MemberKind, MemberName, Mono, Nonce, RaftId};

/// Everything that [`super::decide`] sees.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Who decides.
    pub me: &'a Me,
    /// The clock.
    pub now: Mono,
    /// The replicated state as applied here.
    pub state: &'a ClusterState,
    /// When the current phase and handover were applied here.
    pub since: Since,
    /// My place in the Raft group.
    pub raft: &'a RaftView,
    /// What I see here.
    pub local: &'a Local,
    /// What I have heard of the others, newest report each.
    pub peers: &'a BTreeMap<MemberName, Heard>,
    /// Drawn for this decision.
    pub fresh: &'a Fresh,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// My name.
    pub name: MemberName,
    /// Of this process.
    pub nonce: Nonce,
    /// Data or witness.
    pub kind: MemberKind,
}

/// When things were applied here, on this member's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Since {
    /// The current phase.
    pub phase: Mono,
    /// The Revoke (or Bootstrap) that the current epoch began with.
    pub epoch: Mono,
    /// The Revoke of the current epoch was proposed, where it was proposed here.
    pub proposed: Option<Mono>,
    /// The current handover.
    pub handover: Mono,
}

/// The Raft group as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RaftView {
    /// Who leads.
    pub leader: Option<MemberName>,
    /// Whether that is me, with a quorum that answered within the lease.
    pub leads: bool,
    /// Whether the group works as far as this member can tell: it leads with a fresh quorum, or has
    /// heard a leader lately.
    pub quorum: bool,
    /// Who votes.
    pub quorums: Quorums,
    /// Names of the voters.
    pub voters: BTreeMap<RaftId, MemberName>,
    /// When leadership was last offered to somebody else.
    pub transfer_tried: Option<Mono>,
}

/// Values that the core must not draw itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// For a promotion.
    pub fork_id: ForkId,
    /// Wall clock for people, RFC 3339.
    pub at: String,
}

/// The newest report of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it said.
    pub report: MemberReport,
    /// When it last said anything.
    pub at: Mono,
    /// Since when it has been heard without a gap.
    pub since: Mono,
    /// Since when its address refuses connections, if it does.
    pub refused_at: Option<Mono>,
}

impl Heard {
    /// After so long without a word whoever speaks again has come back.
    const GAP: Duration = Duration::from_secs(1);

    /// What [`Heard::since`] is once somebody, last heard `at` and refusing connections or not, speaks at
    /// `now`.
    pub fn since_after(since: Mono, at: Mono, refused: bool, now: Mono) -> Mono {
        if refused || now.since(at) > Self::GAP {
            now
        } else {
            since
        }
    }
}

/// Names a step of the journal.
pub(super) fn step(name: &str, ms: u64) -> Step {
    Step {
        name: name.to_owned(),
        ms,
    }
}
