//! The table on the terminal and the file that keeps it.

use std::path::Path;

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::bench::figures::{Better, Figure, Unit};
use crate::bench::machine::{Machine, load_of_a_minute};
use crate::bench::rows::RowName;

/// Everything measured in one run.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    begun_at: String,
    rounds: usize,
    lease_ms: Option<u64>,
    load_before: f64,
    load_after: f64,
    figures: Vec<Figure>,
    failed: Vec<(String, String)>,
}

impl Report {
    pub(super) fn begin(rounds: usize, lease_ms: Option<u64>) -> anyhow::Result<Self> {
        Ok(Self {
            machine: Machine::look()?,
            begun_at: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H%M%SZ")
                .to_string(),
            rounds,
            lease_ms,
            load_before: load_of_a_minute(),
            load_after: f64::NAN,
            figures: Vec::new(),
            failed: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, figure: Figure) {
        eprintln!("  {}", one_line(&figure));
        self.figures.push(figure);
    }

    pub(super) fn fail(&mut self, row: RowName, error: &anyhow::Error) {
        eprintln!("  {row:?} was not measured: {error:#}");
        self.failed.push((format!("{row:?}"), format!("{error:#}")));
    }

    /// Prints the table and writes the file.
    pub(super) fn finish(&mut self, results: &Path) -> anyhow::Result<()> {
        self.load_after = load_of_a_minute();
        println!("{}", self.table());
        for figure in self
            .figures
            .iter()
            .filter(|figure| !figure.steps_ms.is_empty())
        {
            println!("{}: {}", figure.title, steps(figure));
        }
        for figure in self
            .figures
            .iter()
            .filter(|figure| !figure.notes.is_empty())
        {
            println!("{}: {}", figure.title, figure.notes.join("; "));
        }
        for (row, error) in &self.failed {
            println!("{row} was not measured: {error}");
        }
        println!(
            "{} cores ({}), {}, load {:.1} before and {:.1} after, {} build",
            self.machine.cores,
            self.machine.cpu,
            self.machine.postgres,
            self.load_before,
            self.load_after,
            if self.machine.release {
                "release"
            } else {
                "DEBUG"
            },
        );
        std::fs::create_dir_all(results)?;
        let path = results.join(format!("{}.json", self.begun_at));
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("kept in {}", path.display());
        Ok(())
    }

    /// True where every row was measured and every target met.
    pub fn all_met(&self) -> bool {
        self.failed.is_empty()
            && self
                .figures
                .iter()
                .all(|figure| figure.met() != Some(false))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "what",
            "n",
            "median",
            "worst",
            "target median",
            "target worst",
            "",
        ]);
        for figure in &self.figures {
            let value = |value: Option<f64>| {
                let text = value.map_or_else(String::new, |value| show(figure.unit, value));
                Cell::new(text).set_alignment(CellAlignment::Right)
            };
            let sign = if figure.better == Better::Lower {
                "<"
            } else {
                ">="
            };
            let target = |target: Option<f64>| {
                target.map_or_else(String::new, |target| match target {
                    0.0 => "0".to_owned(),
                    _ => format!("{sign} {}", show(figure.unit, target)),
                })
            };
            let verdict = match figure.met() {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            table.add_row([
                Cell::new(&figure.title),
                Cell::new(figure.samples.len()),
                value(figure.median()),
                value(figure.worst()),
                Cell::new(target(figure.target_median)),
                Cell::new(target(figure.target_worst)),
                Cell::new(verdict),
            ]);
        }
        table
    }
}

fn one_line(figure: &Figure) -> String {
    let value = |value: Option<f64>| value.map_or_else(String::new, |v| show(figure.unit, v));
    format!(
        "{}: median {}, worst {}",
        figure.title,
        value(figure.median()),
        value(figure.worst())
    )
}

/// `seen 2, fenced 31 (+29), released 33 (+2) ...`
fn steps(figure: &Figure) -> String {
    let mut before = 0.0;
    let told = figure.steps_ms.iter().map(|(name, ms)| {
        let text = format!("{name} {ms:.0} ms (+{:.0})", ms - before);
        before = *ms;
        text
    });
    told.collect::<Vec<_>>().join(", ")
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => format!("{value:.3} s"),
        Unit::Count => format!("{value:.0}"),
        Unit::Bytes if value >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
        Unit::Percent => format!("{value:.2} %"),
        Unit::Ratio => format!("{value:.2} x"),
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Microseconds => format!("{value:.1} us"),
    }
}
