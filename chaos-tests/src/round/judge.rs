//! Holds what everybody was told against what is there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::crew::Told;
use super::verdict::{Evidence, Outcome};
use super::{Blows, LAG_MAX, consequences, excuse, ms};
use crate::checker;
use crate::cluster::Cluster;
use crate::history::HistoryEntry;
use crate::load::{self, Attempt, Record};
use crate::nemesis::Kind;
use crate::registers::{self, Operation};
use crate::sampler::{self, Pace, Via, Write};
use crate::trial::EXPOSED;
use crate::wait;

/// A server whose connections are all in use by clients that reconnect is asked again until then.
const SCANNED_WITHIN: Duration = Duration::from_secs(30);

/// `known` is the highest epoch in the journal before the round: the journal forgets its oldest entries,
/// so that its length tells nothing.
pub(super) async fn judge(
    cluster: &Cluster,
    told: &Told,
    blows: &Blows,
    known: Option<u64>,
    began: Instant,
) -> anyhow::Result<Outcome> {
    let (wrong, excused) = sampler::judge(&told.seen, &excuse::excuses(blows, told.origin));
    let (all, _) = sampler::judge(&told.seen, &[]);
    let since = began.saturating_duration_since(told.origin);
    let mut outcome = Outcome {
        uncovered: all.into_iter().filter(|one| !wrong.contains(one)).collect(),
        wrong,
        excused,
        struck: blows.iter().filter(|blow| !blow.idle).count(),
        demanded: consequences::fatal(blows).count(),
        switchovers: consequences::switchovers(blows),
        evidence: evidence(told, since),
        lanes: Pace::of(&told.seen, since),
        samples: told.seen.writes.len(),
        worst_gap_ms: ms(worst_gap(told, began)),
        ..Outcome::default()
    };
    match wait::until("a scan", SCANNED_WITHIN, || scan(cluster, told)).await {
        Ok((present, mut journal, two_starts)) => {
            outcome.wrong.extend(two_starts);
            let unmoved = consequences::without_consequence(blows, &journal);
            outcome.wrong.extend(unmoved);
            journal.retain(|entry| Some(entry.epoch) > known);
            rows(&mut outcome, told, &present, &journal, &destroyed(blows));
        }
        // Whether the cluster is well is asked apart.
        Err(error) => outcome.missed.push(format!("no scan: {error:#}")),
    }
    Ok(outcome)
}

/// What was looked at after `since`, when the first fault struck.
fn evidence(told: &Told, since: Duration) -> Evidence {
    let writes = told.seen.writes.iter().filter(|write| write.ended >= since);
    let direct = |write: &&Write| matches!(write.via, Via::Direct(_));
    let rows = moved(told);
    let is_acknowledged = |row: &&Attempt| row.outcome == load::Outcome::Acknowledged;
    Evidence {
        acknowledged: rows
            .iter()
            .filter(is_acknowledged)
            .filter(|row| row.ended >= since)
            .count(),
        reads: told.reads.iter().filter(|read| read.ended >= since).count(),
        operations: told
            .operations
            .iter()
            .filter(|operation| operation.ended >= since)
            .count(),
        samples: writes.clone().count(),
        in_epoch: writes.clone().filter(|w| w.epoch.is_some()).count(),
        direct: writes.filter(direct).count(),
        gates: told
            .seen
            .open
            .iter()
            .filter(|open| open.ended >= since)
            .count(),
    }
}

/// PostgreSQL itself is asked, past every port.
async fn scan(
    cluster: &Cluster,
    told: &Told,
) -> anyhow::Result<(BTreeSet<(i32, i64)>, Vec<HistoryEntry>, Vec<String>)> {
    let primary = cluster.direct(&cluster.primary().await?)?;
    let mut present = checker::read_rows(&primary).await?;
    present.retain(|(writer, _)| *writer >= told.first_writer);
    let two_starts = sampler::two_starts(&primary).await?;
    Ok((present, cluster.history().await?, two_starts))
}

/// Whose data was destroyed.
fn destroyed(blows: &Blows) -> Vec<String> {
    let removed = blows
        .iter()
        .filter(|blow| blow.entry.kind == Kind::DataRemoved);
    removed.flat_map(|blow| blow.victims.clone()).collect()
}

fn rows(
    outcome: &mut Outcome,
    told: &Told,
    present: &BTreeSet<(i32, i64)>,
    journal: &[HistoryEntry],
    destroyed: &[String],
) {
    outcome.failovers = journal.len();
    outcome.epochs = journal.iter().map(|entry| entry.epoch).collect();
    let change = |e: &HistoryEntry| format!("{} {} {}", e.epoch, e.primary, e.cause);
    outcome.changes = journal.iter().map(change).collect();
    let attempts = moved(told);
    let records = [Record {
        attempts: attempts.clone(),
        ..Record::default()
    }];
    let exposed_bytes = checker::wal_bytes_in_any(&records, EXPOSED);
    let bytes_max = LAG_MAX + exposed_bytes;
    let journal = &checker::destroyed::at_most(journal, destroyed, exposed_bytes);
    match checker::compare(&records, present) {
        Ok(verdict) => {
            outcome.acknowledged = verdict.acknowledged;
            outcome.unknown_present = verdict.unknown_present;
            for row in &verdict.lost {
                match checker::reported(row, journal, bytes_max) {
                    Ok(()) => outcome.lost_reported += 1,
                    Err(error) => {
                        outcome.lost_unreported += 1;
                        outcome.wrong.push(format!("{error:#}"));
                    }
                }
            }
        }
        Err(error) => outcome.wrong.push(format!("{error:#}")),
    }
    let wrong = checker::reads::judge(&attempts, &told.reads, present, journal);
    outcome.wrong.extend(wrong);
    outcome.wrong.extend(old_timeline(&attempts));
    let registers = registers::judge(&told.operations, &told.reads, present);
    outcome.operations = registers.judged;
    outcome.left_out = registers.left_out;
    outcome.unjudged = registers.doubts;
    outcome.wrong.extend(registers.wrong);
}

/// Whoever came through a port to an earlier timeline after somebody had come to a later one.
fn old_timeline(attempts: &[Attempt]) -> Vec<String> {
    let done = |row: &Attempt| Some((u64::from(row.timeline?), row.sent, row.ended));
    let acknowledged = |row: &&Attempt| row.outcome == load::Outcome::Acknowledged;
    let acts = attempts.iter().filter(acknowledged).filter_map(done);
    sampler::goes_back("the timeline behind the ports", acts.collect())
}

/// The attempts of all writers, those on registers too, on the clock of the reader.
fn moved(told: &Told) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = told
        .operations
        .iter()
        .filter_map(Operation::attempt)
        .collect();
    for (record, origin) in told.records.iter().zip(&told.origins) {
        // The loads begin before the reader.
        let ahead = told.origin.saturating_duration_since(*origin);
        all.extend(record.attempts.iter().map(|attempt| Attempt {
            sent: attempt.sent.saturating_sub(ahead),
            ended: attempt.ended.saturating_sub(ahead),
            ..*attempt
        }));
    }
    all
}

/// The longest time without an acknowledgement to anybody, from the first fault on.
fn worst_gap(told: &Told, began: Instant) -> Duration {
    let mut ends: Vec<Instant> = told
        .records
        .iter()
        .zip(&told.origins)
        .flat_map(|(record, origin)| record.acknowledged().map(move |row| *origin + row.ended))
        .collect();
    ends.push(told.stopped);
    ends.sort_unstable();
    let after = ends.windows(2).filter(|pair| pair[1] > began);
    after
        .map(|pair| pair[1].saturating_duration_since(pair[0]))
        .max()
        .unwrap_or_default()
}
