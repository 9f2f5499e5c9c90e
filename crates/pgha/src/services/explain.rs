//! History and explanations, from the replicated journal.

use pgha_core::journal::{Cause, JournalEntry};
use pgha_core::{ClusterState, StartKind};
use pgha_proto::v1;

/// One change of primary for the wire. Epochs that ended without a primary are part of the next.
pub(crate) fn entry(entry: &JournalEntry) -> v1::HistoryEntry {
    v1::HistoryEntry {
        epoch: entry.epoch.0,
        timeline: entry.timeline.map_or(0, |timeline| timeline.0),
        primary: entry
            .primary
            .as_ref()
            .map(|name| name.0.clone())
            .unwrap_or_default(),
        previous_primary: entry.previous_primary.as_ref().map(|name| name.0.clone()),
        cause: entry.cause.code().to_owned(),
        at: entry.at.clone(),
        fork_lsn: entry.fork_lsn.map(|lsn| lsn.0),
        lost_from_lsn: entry.lost.map(|lost| lost.from.0),
        lost_to_lsn: entry.lost.map(|lost| lost.to.0),
        lost_bytes: entry.lost.map(|lost| lost.bytes()),
        lost_final: entry.lost.map(|lost| lost.is_final),
        steps: entry
            .steps
            .iter()
            .map(|step| v1::Step {
                name: step.name.clone(),
                ms: step.ms,
            })
            .collect(),
    }
}

/// Every change that named a primary, oldest first.
pub(crate) fn history(state: &ClusterState) -> Vec<v1::HistoryEntry> {
    state
        .journal
        .iter()
        .filter(|e| e.primary.is_some())
        .map(entry)
        .collect()
}

/// Who was promoted without the old primary's own word may lack what that wrote after its last
/// renewal, and nobody knows until its data is back.
fn nothing_known(entry: &JournalEntry) -> String {
    let heard = entry.evidence.iter().any(|report| report.former_primary);
    match &entry.previous_primary {
        Some(previous) if entry.kind == Some(StartKind::Promotion) && !heard => format!(
            "nothing is known to be lost; were the host of {previous} lost for ever, what it wrote \
             after its last renewal would be missing, and not told here"
        ),
        _ => "nothing is known to be lost".to_owned(),
    }
}

/// Why an epoch began and how it went, a line each.
pub(crate) fn lines(entry: &JournalEntry) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: epoch {} began: {}",
        entry.at, entry.epoch, entry.cause
    )];
    if let Some(leader) = &entry.leader {
        lines.push(format!(
            "the Raft leader {leader} revoked the epoch before it"
        ));
    }
    if let Some(previous) = &entry.previous_primary {
        lines.push(format!("until then {previous} was primary"));
    }
    for report in &entry.evidence {
        let what = if report.former_primary {
            "the fenced primary"
        } else {
            "replica"
        };
        let verdict = report.refused.as_ref().map_or_else(
            || "could be promoted".to_owned(),
            |why| format!("was refused: {why}"),
        );
        lines.push(format!(
            "{} ({what}) reported timeline {}, end of WAL {}: {verdict}",
            report.member, report.timeline, report.end_of_wal
        ));
    }
    match (&entry.primary, entry.kind) {
        (Some(primary), Some(kind)) => lines.push(format!(
            "{primary} was chosen: {}",
            match kind {
                StartKind::Initial => "it holds the first data directory",
                StartKind::Promotion => "the highest end of WAL among those that could be promoted",
                StartKind::Restart => "a restart in place loses nothing and is the faster way",
                StartKind::Reinstatement => "it was alive and had lost nothing",
            }
        )),
        _ => lines.push("nobody was chosen in this epoch".to_owned()),
    }
    if let Some(fork) = entry.fork_lsn {
        let timeline = entry.timeline.unwrap_or_default();
        lines.push(format!("timeline {timeline} leaves its parent at {fork}"));
    }
    match &entry.lost {
        Some(lost) => lines.push(format!(
            "WAL from {} to {} of the old line is not in the new one: {} bytes ({})",
            lost.from,
            lost.to,
            lost.bytes(),
            if lost.is_final {
                "read from the old primary"
            } else {
                "as far as is known: the old primary's own data was not read"
            }
        )),
        None if matches!(entry.cause, Cause::QuorumRecovered { .. }) => {
            let text = "what the lost members had beyond that is known only once they are back";
            lines.push(text.to_owned());
        }
        None => lines.push(nothing_known(entry)),
    }
    for step in &entry.steps {
        lines.push(format!("{:>6} ms {}", step.ms, step.name));
    }
    if !entry.opened {
        lines.push("its gate has not opened".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgha_core::journal::Evidence;
    use pgha_core::{Epoch, Lsn, TimelineId};

    #[test]
    fn what_nobody_heard_is_not_called_nothing() {
        let report = |former_primary| Evidence {
            member: "n2".into(),
            timeline: TimelineId(1),
            end_of_wal: Lsn(100),
            former_primary,
            refused: None,
        };
        let loss = |kind, former_primary| {
            let cause = Cause::Released {
                why: "postmaster_exited".to_owned(),
            };
            let entry = JournalEntry {
                previous_primary: Some("n1".into()),
                primary: Some("n2".into()),
                kind: Some(kind),
                evidence: vec![report(former_primary)],
                ..JournalEntry::begun(Epoch(2), cause, String::new())
            };
            let said = lines(&entry);
            said.into_iter()
                .find(|line| line.contains("known to be lost"))
        };
        let unheard = loss(StartKind::Promotion, false).unwrap_or_default();
        assert!(unheard.contains("the host of n1"), "{unheard}");
        for (kind, heard) in [(StartKind::Promotion, true), (StartKind::Restart, false)] {
            let said = loss(kind, heard);
            assert_eq!(said.as_deref(), Some("nothing is known to be lost"));
        }
    }
}
