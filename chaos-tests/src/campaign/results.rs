//! What came of a campaign: the table for the terminal and the file that keeps it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::bench::Machine;
use crate::nemesis::{Kind, Schedule};
use crate::round::{Outcome, Switchovers, Verdict};
use crate::sampler::Pace;

/// One round as it was planned and as it went.
#[derive(Debug, Serialize)]
pub(super) struct Played {
    pub(super) schedule: Schedule,
    pub(super) verdict: Verdict,
    pub(super) outcome: Outcome,
}

/// What came of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    kind: Kind,
    rounds: usize,
    failovers: usize,
    worst_gap_ms: u64,
    acknowledged: usize,
    lost_reported: usize,
    lost_unreported: usize,
    verdict: Verdict,
    played: Vec<Played>,
}

/// What came of all of them.
#[derive(Debug, Serialize)]
pub struct Results {
    pub(super) machine: Machine,
    pub(super) begun_at: String,
    pub(super) seed: u64,
    pub(super) skipped: Vec<String>,
    pub(super) rows: Vec<Row>,
}

impl Row {
    pub(super) fn of(kind: Kind, played: Vec<Played>) -> Self {
        let sum = |of: fn(&Outcome) -> usize| played.iter().map(|p| of(&p.outcome)).sum();
        Self {
            kind,
            rounds: played.len(),
            failovers: sum(|o| o.failovers),
            worst_gap_ms: played
                .iter()
                .map(|p| p.outcome.worst_gap_ms)
                .max()
                .unwrap_or(0),
            acknowledged: sum(|o| o.acknowledged),
            lost_reported: sum(|o| o.lost_reported),
            lost_unreported: sum(|o| o.lost_unreported),
            verdict: worst(played.iter().map(|p| p.verdict)),
            played,
        }
    }

    fn cells(&self) -> [String; 7] {
        [
            self.kind.name(),
            self.rounds.to_string(),
            self.failovers.to_string(),
            format!(
                "{:.2} s",
                std::time::Duration::from_millis(self.worst_gap_ms).as_secs_f64()
            ),
            self.acknowledged.to_string(),
            format!("{} + {}", self.lost_reported, self.lost_unreported),
            format!("{:?}", self.verdict).to_lowercase(),
        ]
    }

    pub(super) fn line(&self) -> String {
        let [kind, rounds, failovers, gap, acknowledged, lost, verdict] = self.cells();
        format!(
            "{kind}: {rounds} rounds, {failovers} changes of primary, worst gap {gap}, {acknowledged} rows \
             acknowledged, lost (reported + unreported) {lost}, {verdict}"
        )
    }
}

/// A failure counts before a doubt, a doubt before success; nothing played is a doubt.
fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let all: Vec<Verdict> = verdicts.collect();
    [Verdict::Fail, Verdict::Unknown, Verdict::Pass]
        .into_iter()
        .find(|verdict| all.contains(verdict))
        .unwrap_or(Verdict::Unknown)
}

impl Results {
    /// The table for the terminal.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "fault",
            "rounds",
            "changes of primary",
            "worst gap",
            "rows acknowledged",
            "lost: reported + unreported",
            "verdict",
        ]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        table
    }

    /// Writes them down; where.
    pub fn keep(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("chaos-{}.json", self.begun_at));
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// True where every kind passed, none was skipped, and there was one.
    pub fn all_passed(&self) -> bool {
        self.skipped.is_empty()
            && !self.rows.is_empty()
            && self.rows.iter().all(|row| row.verdict == Verdict::Pass)
    }
}

fn changes(changes: &[String]) -> String {
    let changes = changes.iter().map(|change| format!(" [{change}]"));
    changes.collect()
}

/// The lane that was looked at least, and the one that stood still for longest.
fn paces(lanes: &[Pace]) -> String {
    let fewest = lanes.iter().map(|lane| lane.looks).min().unwrap_or(0);
    let stillest = lanes.iter().max_by_key(|lane| lane.longest_pause_ms);
    stillest.map_or_else(String::new, |still| {
        format!(
            "{fewest} looks or more at each of {}, pause {} ms at most ({})",
            lanes.len(),
            still.longest_pause_ms,
            still.lane
        )
    })
}

fn switchovers(outcome: &Outcome) -> String {
    match outcome.switchovers {
        Switchovers { ordered: 0, .. } => String::new(),
        Switchovers {
            ordered,
            meanwhile,
            done,
        } => format!("{done} of {ordered} switchovers ({meanwhile} meanwhile), "),
    }
}

/// One line for the terminal.
pub fn describe(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} changes of primary ({} demanded){}, gap {} ms, {} acknowledged, {} + {} lost, {} unknown kept, {} reads, {} \
         operations on registers ({} left out), {} samples ({} excused, {} in a known epoch), {}, {}together \
         after {} ms",
        outcome.failovers,
        outcome.demanded,
        changes(&outcome.changes),
        outcome.worst_gap_ms,
        outcome.acknowledged,
        outcome.lost_reported,
        outcome.lost_unreported,
        outcome.unknown_present,
        outcome.evidence.reads,
        outcome.operations,
        outcome.left_out,
        outcome.samples,
        outcome.excused,
        outcome.evidence.in_epoch,
        paces(&outcome.lanes),
        switchovers(outcome),
        outcome.converged_ms
    );
    let uncovered = outcome
        .uncovered
        .iter()
        .map(|what| format!("covered by no promise: {what}"));
    let lines = outcome
        .wrong
        .iter()
        .cloned()
        .chain(outcome.doubts())
        .chain(uncovered);
    for line in lines.take(10) {
        text.push_str("\n    ");
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_round_spoils_the_row() {
        use Verdict::{Fail, Pass, Unknown};
        assert_eq!(worst([Pass, Pass].into_iter()), Pass);
        assert_eq!(worst([Pass, Unknown].into_iter()), Unknown);
        assert_eq!(worst([Unknown, Fail, Pass].into_iter()), Fail);
        assert_eq!(worst(std::iter::empty()), Unknown);
    }
}
