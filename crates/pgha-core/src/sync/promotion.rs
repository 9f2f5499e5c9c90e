//! Who may be promoted.

use super::in_force::InForce;
use crate::Lsn;

/// A member's answer to a Revoke: it receives nothing any more, and what it has ends here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport<N> {
    /// Who.
    pub member: N,
    /// The end of its WAL. All of these are on the cluster's line; who has left it does not report here.
    pub end: Lsn,
    /// It was the primary, and has been fenced: nothing that was acknowledged is missing in it.
    pub former_primary: bool,
}

/// Why a member is not promoted. An operator who accepts the loss may override it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromotionRefused {
    /// Nobody knows where its WAL ends.
    #[error("it has not reported: wait for it, or choose who has")]
    NotReported,
    /// Somebody who reported has more.
    #[error("it ends at {end}, and another member at {best}: promote that one")]
    Behind {
        /// Where it ends.
        end: Lsn,
        /// Where the best one ends.
        best: Lsn,
    },
    /// An acknowledged commit may be on members that have not reported.
    #[error("{reports} of {needed} synchronous standbys have reported: start the others")]
    TooFewReports {
        /// How many have.
        reports: usize,
        /// How many have to.
        needed: usize,
    },
    /// Commits waited for nobody.
    #[error("commits waited for no standby, so only the last primary has them all: start that one")]
    OnlyLastPrimary,
}

/// Whether `candidate` may be promoted without the loss of an acknowledged commit: it is the best of those
/// who reported, and these are so many that each commit is on one of them. The fenced primary's report
/// stands for any number of others.
pub fn may_promote<N: Ord + Clone>(
    in_force: &InForce<N>,
    reports: &[SyncReport<N>],
    candidate: &N,
) -> Result<(), PromotionRefused> {
    let own = reports.iter().find(|report| report.member == *candidate);
    let own = own.ok_or(PromotionRefused::NotReported)?;
    let best = reports.iter().map(|report| report.end).max();
    let best = best.unwrap_or(own.end);
    if own.former_primary {
        return Ok(());
    }
    if own.end < best {
        return Err(PromotionRefused::Behind { end: own.end, best });
    }
    if reports.iter().any(|report| report.former_primary) {
        return Ok(());
    }
    let needed = in_force
        .reports_needed()
        .ok_or(PromotionRefused::OnlyLastPrimary)?;
    let names = in_force.names();
    let counts = |name: &&&N| reports.iter().any(|report| report.member == ***name);
    let reports = names.iter().filter(counts).count();
    if reports < needed {
        return Err(PromotionRefused::TooFewReports { reports, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Method, SyncSet};
    use super::*;

    fn of(names: &[u8], count: usize) -> InForce<u8> {
        InForce::settled(SyncSet::new(names.to_vec(), count, Method::Quorum).expect("valid"))
    }

    fn report(member: u8, end: u64) -> SyncReport<u8> {
        SyncReport {
            member,
            end: Lsn(end),
            former_primary: false,
        }
    }

    #[test]
    fn each_commit_is_on_one_of_those_who_reported() {
        let one_of_two = of(&[1, 2], 1);
        assert_eq!(
            may_promote(&one_of_two, &[report(1, 10)], &1),
            Err(PromotionRefused::TooFewReports {
                reports: 1,
                needed: 2
            })
        );
        let both = [report(1, 10), report(2, 20)];
        assert_eq!(may_promote(&one_of_two, &both, &2), Ok(()));
        assert!(matches!(
            may_promote(&one_of_two, &both, &1),
            Err(PromotionRefused::Behind { .. })
        ));
        assert_eq!(may_promote(&of(&[1, 2], 2), &[report(1, 10)], &1), Ok(()));
        // One that is not listed may have everything, and stands for nobody.
        assert!(may_promote(&one_of_two, &[report(1, 10), report(3, 20)], &3).is_err());
        // The same one twice is one.
        assert!(may_promote(&one_of_two, &[report(1, 10), report(1, 10)], &1).is_err());
    }

    #[test]
    fn the_fenced_primary_stands_for_everybody() {
        let former = SyncReport {
            former_primary: true,
            ..report(9, 20)
        };
        let nobody_waits = of(&[1, 2], 0);
        assert_eq!(
            may_promote(&nobody_waits, &[report(1, 30), report(2, 30)], &1),
            Err(PromotionRefused::OnlyLastPrimary)
        );
        assert_eq!(
            may_promote(&nobody_waits, std::slice::from_ref(&former), &9),
            Ok(())
        );
        let complete = [former.clone(), report(1, 20)];
        assert_eq!(may_promote(&nobody_waits, &complete, &1), Ok(()));
        let behind = [former, report(1, 10)];
        assert!(may_promote(&nobody_waits, &behind, &1).is_err());
        assert_eq!(
            may_promote(&nobody_waits, &behind, &2),
            Err(PromotionRefused::NotReported)
        );
    }
}
