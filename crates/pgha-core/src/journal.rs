//! What happened and why, replicated, so that any member can explain it later.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Generation, Lsn, MemberName, StartKind, TimelineId};

/// Entries that are kept; of more, the oldest that the next one repeats is dropped, or else
/// the oldest.
pub const JOURNAL_ENTRIES_MAX: usize = 200;

/// Why an epoch ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The cluster's first primary.
    Formation,
    /// The holder proved that nothing of it is left.
    Released {
        /// What made it stop.
        why: String,
    },
    /// A quorum of voters heard no renewal.
    Expired {
        /// Who reported it.
        reporters: Vec<MemberName>,
    },
    /// The holder's sidecar is another process now.
    HolderRestarted,
    /// An operator planned it.
    Switchover,
    /// An operator ordered it.
    OperatorFailover {
        /// Who is to be promoted.
        target: MemberName,
        /// Whether data may be lost beyond the limit.
        allow_data_loss: bool,
    },
    /// The chosen one did not open in time.
    PromotionFailed {
        /// What is known.
        why: String,
    },
    /// An operator went on with one member after the quorum was lost for ever.
    QuorumRecovered {
        /// Who went on.
        survivor: MemberName,
        /// The generation that began.
        generation: Generation,
    },
}

impl Cause {
    /// The word that programs see.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Formation => "formation",
            Self::Released { .. } => "released",
            Self::Expired { .. } => "lease_expired",
            Self::HolderRestarted => "holder_restarted",
            Self::Switchover => "switchover",
            Self::OperatorFailover { .. } => "operator_failover",
            Self::PromotionFailed { .. } => "promotion_failed",
            Self::QuorumRecovered { .. } => "quorum_recovered",
        }
    }

    /// Who is to be primary whatever is lost by it, as an operator said.
    pub const fn accepts_loss_for(&self) -> Option<&MemberName> {
        match self {
            Self::OperatorFailover {
                target,
                allow_data_loss: true,
            } => Some(target),
            Self::QuorumRecovered { survivor, .. } => Some(survivor),
            Self::Formation
            | Self::Released { .. }
            | Self::Expired { .. }
            | Self::HolderRestarted
            | Self::Switchover
            | Self::OperatorFailover { .. }
            | Self::PromotionFailed { .. } => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Formation => f.write_str("the cluster was formed"),
            Self::Released { why } => write!(f, "the holder released its lease: {why}"),
            Self::Expired { reporters } => {
                let names: Vec<_> = reporters.iter().map(MemberName::as_str).collect();
                write!(f, "no renewal reached {}", names.join(", "))
            }
            Self::HolderRestarted => f.write_str("the holder's sidecar was restarted"),
            Self::Switchover => f.write_str("an operator asked for a switchover"),
            Self::OperatorFailover {
                target,
                allow_data_loss,
            } => {
                write!(f, "an operator ordered a failover to {target}")?;
                if *allow_data_loss {
                    f.write_str(", accepting data loss")
                } else {
                    Ok(())
                }
            }
            Self::PromotionFailed { why } => write!(f, "the promotion failed: {why}"),
            Self::QuorumRecovered {
                survivor,
                generation,
            } => write!(
                f,
                "an operator went on with {survivor} alone, as the quorum was lost for ever: \
                 generation {generation} began"
            ),
        }
    }
}

/// A step of a change of primary, with the time from the fault to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// One of seen, fenced, released, revoked, reported, committed, leased, promoted, routed.
    pub name: String,
    /// Milliseconds since the fault was seen. Added up from spans measured on one clock each.
    pub ms: u64,
}

/// One report that a choice was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who reported.
    pub member: MemberName,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Its end of WAL.
    pub end_of_wal: Lsn,
    /// Whether it was the fenced primary of the old epoch.
    pub former_primary: bool,
    /// What spoke against it, if anything.
    pub refused: Option<String>,
}

/// WAL of the old line that the new one does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRange {
    /// Where the new line leaves the old one.
    pub from: Lsn,
    /// End of the old line as far as known.
    pub to: Lsn,
    /// Whether the data of the primary that served last was read: otherwise there may be more.
    pub is_final: bool,
}

impl LostRange {
    /// Bytes in the range.
    pub const fn bytes(&self) -> u64 {
        self.from.bytes_behind(self.to)
    }

    /// Whether all of `other` lies in it.
    pub const fn holds(&self, other: &Self) -> bool {
        other.bytes() == 0 || (self.from.0 <= other.from.0 && other.to.0 <= self.to.0)
    }

    /// What both tell: each is a tail that somebody had, or was told of, and that is not in the new
    /// line. Several members may have one, on timelines that were left at the same point.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let is_final = self.is_final || other.is_final;
        let range = if self.holds(&other) {
            self
        } else {
            Self {
                from: self.from.min(other.from),
                to: self.to.max(other.to),
                is_final,
            }
        };
        Self { is_final, ..range }
    }
}

/// One change of primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The epoch that it began.
    pub epoch: Epoch,
    /// Why.
    pub cause: Cause,
    /// The raft leader that decided.
    pub leader: Option<MemberName>,
    /// Who was primary before.
    pub previous_primary: Option<MemberName>,
    /// Wall clock of the raft leader, RFC 3339.
    pub at: String,
    /// Who became primary; absent while undecided, or where the epoch ended without one.
    pub primary: Option<MemberName>,
    /// The timeline of the new primary.
    pub timeline: Option<TimelineId>,
    /// How it became primary.
    pub kind: Option<StartKind>,
    /// Where its timeline leaves its parent.
    pub fork_lsn: Option<Lsn>,
    /// What was lost.
    pub lost: Option<LostRange>,
    /// What the choice was made from.
    pub evidence: Vec<Evidence>,
    /// Times.
    pub steps: Vec<Step>,
    /// Whether the gate opened.
    pub opened: bool,
}

impl JournalEntry {
    /// An epoch that has just begun, at the raft leader's wall clock: nobody is primary in it yet.
    pub const fn begun(epoch: Epoch, cause: Cause, at: String) -> Self {
        Self {
            epoch,
            cause,
            leader: None,
            previous_primary: None,
            at,
            primary: None,
            timeline: None,
            kind: None,
            fork_lsn: None,
            lost: None,
            evidence: Vec::new(),
            steps: Vec::new(),
            opened: false,
        }
    }

    /// Whether it tells no more than that a primary was started in place and did not come to serve.
    pub fn is_futile(&self) -> bool {
        self.kind == Some(StartKind::Restart) && !self.opened && self.lost.is_none()
    }

    /// Whether `next` says the same of the same member: who may have served in between is known without
    /// this one.
    pub fn is_repeated_by(&self, next: &Self) -> bool {
        self.is_futile() && next.is_futile() && self.primary == next.primary
    }
}
