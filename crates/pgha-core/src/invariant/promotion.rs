//! P4 and P2: who was promoted, and what it had to have.

use super::Violation;
use crate::journal::{Evidence, JournalEntry};
use crate::sync::{InForce, SyncReport, may_promote};
use crate::{MemberName, StartKind};

/// P4: whoever an automatic election promoted was fit, and no fit reporter was ahead. `target` is the
/// one an operator asked for.
pub fn promoted(entry: &JournalEntry, target: Option<&MemberName>) -> Result<(), Violation> {
    let (Some(node), Some(StartKind::Promotion)) = (&entry.primary, entry.kind) else {
        return Ok(());
    };
    let broken = |why: String| {
        Err(Violation::Promoted {
            epoch: entry.epoch,
            node: node.clone(),
            why,
        })
    };
    let Some(own) = entry.evidence.iter().find(|e| e.member == *node) else {
        return broken("it did not report".to_owned());
    };
    let accepted = entry.cause.accepts_loss_for() == Some(node);
    if let Some(refused) = own.refused.as_ref().filter(|_| !accepted) {
        return broken(refused.clone());
    }
    let reach = |e: &Evidence| (e.timeline, e.end_of_wal);
    let ahead = |e: &&Evidence| e.refused.is_none() && !e.former_primary && reach(e) > reach(own);
    match entry.evidence.iter().find(ahead) {
        Some(better) if target != Some(node) => broken(format!(
            "{} reported {}, it only {}",
            better.member, better.end_of_wal, own.end_of_wal
        )),
        Some(_) | None => Ok(()),
    }
}

/// Whether the rule of synchronous sets lets this entry name its primary: on what the election knew, no commit
/// that waited for `in_force` can be missing (design 6.5). The journal does not tell whether the former
/// primary had stopped when it reported, as it need not have where somebody else was ordered: unless it is
/// the one that is named, it counts as one member of many, and not as a fenced primary.
pub fn allowed_by_sync(entry: &JournalEntry, in_force: &InForce<MemberName>) -> bool {
    let candidate = entry.primary.as_ref();
    let fit = entry.evidence.iter().filter(|e| e.refused.is_none());
    let reports: Vec<_> = fit
        .map(|evidence| SyncReport {
            member: evidence.member.clone(),
            end: evidence.end_of_wal,
            former_primary: evidence.former_primary && candidate == Some(&evidence.member),
        })
        .collect();
    candidate.is_some_and(|candidate| may_promote(in_force, &reports, candidate).is_ok())
}

/// P2: where that rule lets it be named, a primary opens with every write that was acknowledged after the
/// standbys of `in_force` had confirmed it; `lost` of them it does not have.
pub fn synchronous_kept(
    entry: &JournalEntry,
    in_force: &InForce<MemberName>,
    lost: usize,
) -> Result<(), Violation> {
    if lost == 0 || !allowed_by_sync(entry, in_force) {
        return Ok(());
    }
    let epoch = entry.epoch;
    Err(Violation::SynchronousLoss { epoch, lost })
}

/// P2, where commits wait for every data member: none of them answers without a write that was acknowledged;
/// `lost` of them it does not have. Neither a restart nor a clone nor a rewind may cost it one.
pub fn synchronous_kept_by(member: &MemberName, lost: usize) -> Result<(), Violation> {
    if lost == 0 {
        return Ok(());
    }
    let member = member.clone();
    Err(Violation::SynchronousDataLost { member, lost })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;
    use crate::Lsn;
    use crate::journal::Cause;
    use crate::sync::{Method, SyncSet};

    fn entry(primary: &str, reports: &[(&str, u64)]) -> JournalEntry {
        let evidence = reports.iter().map(|(member, end)| Evidence {
            member: (*member).into(),
            timeline: crate::TimelineId(1),
            end_of_wal: Lsn(*end),
            former_primary: false,
            refused: None,
        });
        JournalEntry {
            primary: Some(primary.into()),
            kind: Some(StartKind::Promotion),
            evidence: evidence.collect(),
            ..JournalEntry::begun(Epoch(2), Cause::Formation, String::new())
        }
    }

    #[test]
    fn a_confirmed_write_that_is_missing_breaks_p2_only_where_the_rule_allowed_the_promotion() {
        let names = ["n1", "n2", "n3"].map(MemberName::from).to_vec();
        let set = SyncSet::new(names, 2, Method::Quorum).expect("a set");
        let in_force = InForce::settled(set);
        let both = entry("n2", &[("n2", 20), ("n3", 10)]);
        assert!(synchronous_kept(&both, &in_force, 0).is_ok());
        assert!(matches!(
            synchronous_kept(&both, &in_force, 3),
            Err(Violation::SynchronousLoss { lost: 3, .. })
        ));
        // The one that did not report may have it, and an operator took that risk.
        let alone = entry("n2", &[("n2", 20)]);
        assert!(synchronous_kept(&alone, &in_force, 3).is_ok());
        assert!(synchronous_kept_by(&"n2".into(), 0).is_ok());
        assert!(synchronous_kept_by(&"n2".into(), 1).is_err());
    }

    #[test]
    fn a_former_primary_that_may_still_have_written_is_one_of_many() {
        let names = ["n1", "n2", "n3"].map(MemberName::from).to_vec();
        let set = SyncSet::new(names, 1, Method::Quorum).expect("a set");
        let in_force = InForce::settled(set);
        let after_n3 = |primary: &str, reports: &[(&str, u64)]| {
            let mut entry = entry(primary, reports);
            for evidence in &mut entry.evidence {
                evidence.former_primary = evidence.member == "n3".into();
            }
            allowed_by_sync(&entry, &in_force)
        };
        // n1 may have confirmed what n3 wrote after its report.
        assert!(!after_n3("n2", &[("n2", 20), ("n3", 20)]));
        assert!(after_n3("n2", &[("n1", 20), ("n2", 20), ("n3", 20)]));
        assert!(after_n3("n3", &[("n2", 20), ("n3", 20)]));
    }
}
