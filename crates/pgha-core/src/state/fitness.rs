//! Whether data may be a primary's, as far as its line tells (P4, P7).

use super::ClusterState;
use crate::lineage::{Position, Verdict};
use crate::{Lsn, MemberName, StartKind};

/// What a position is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It is on the cluster's line.
    OnLine,
    /// It left the line, from a timeline that is known: only an operator who accepts the loss may have it.
    Left {
        /// The last position that both have.
        at: Lsn,
    },
    /// It cannot prove what it is, and is nobody's to serve.
    Unfit {
        /// Why.
        why: String,
    },
}

impl ClusterState {
    /// Whether that member's data may be a primary's.
    pub fn fitness(&self, member: &MemberName, position: &Position) -> Fitness {
        let timeline = position.timeline;
        match self.lineage.may_lead(position) {
            Verdict::OnLine => Fitness::OnLine,
            Verdict::Diverged { at } if self.lineage.path_to(timeline).is_some() => {
                Fitness::Left { at }
            }
            Verdict::Diverged { .. } => Fitness::Unfit {
                why: format!("its timeline {timeline} was given to nobody: promoted by hand"),
            },
            Verdict::Impostor { .. } if self.is_own_attempt(member, position) => Fitness::OnLine,
            Verdict::Impostor { why } => Fitness::Unfit { why },
        }
    }

    /// Its promotion was interrupted between PostgreSQL's and the row that proves it. Nobody else was
    /// ever to be on that timeline, so this is it; without this the last copy would be refused for ever.
    fn is_own_attempt(&self, member: &MemberName, position: &Position) -> bool {
        let assigned = self.journal.iter().any(|entry| {
            entry.timeline == Some(position.timeline)
                && entry.kind == Some(StartKind::Promotion)
                && entry.primary.as_ref() == Some(member)
        });
        assigned && self.lineage.lacks_only_own_row(position)
    }
}
