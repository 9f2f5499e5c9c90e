//! One line of the table.

use std::collections::BTreeMap;

use serde::Serialize;

/// What the samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds, three places.
    Seconds,
    /// A number of things.
    Count,
    /// Bytes, shown as KiB or MiB.
    Bytes,
    /// Percent of one core.
    Percent,
    /// A quotient.
    Ratio,
    /// Transactions a second.
    PerSecond,
    /// Microseconds.
    Microseconds,
}

/// Which direction is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Better {
    Lower,
    Higher,
}

/// Samples of one quantity beside their targets.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub title: String,
    /// Of each sample.
    pub unit: Unit,
    /// In the order of measuring.
    pub samples: Vec<f64>,
    pub(super) better: Better,
    pub(super) target_median: Option<f64>,
    pub(super) target_worst: Option<f64>,
    /// Median of each step from the journal, in milliseconds since the fault.
    pub steps_ms: Vec<(String, f64)>,
    /// Anything that a reader must know.
    pub notes: Vec<String>,
}

impl Figure {
    pub(super) fn new(title: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Self {
        Self {
            title: title.into(),
            unit,
            samples,
            better: Better::Lower,
            target_median: None,
            target_worst: None,
            steps_ms: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Below these it is met.
    pub(super) const fn below(mut self, median: Option<f64>, worst: Option<f64>) -> Self {
        self.target_median = median;
        self.target_worst = worst;
        self
    }

    /// From this median up it is met.
    pub(super) const fn at_least(mut self, median: f64) -> Self {
        self.better = Better::Higher;
        self.target_median = Some(median);
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Medians of the steps that every round's journal told.
    pub(super) fn with_steps(mut self, rounds: &[Vec<(String, u64)>]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, ms) in rounds.iter().flatten() {
            by_name.entry(name).or_default().push(*ms as f64);
        }
        self.steps_ms = by_name
            .into_iter()
            .filter_map(|(name, times)| Some((name.to_owned(), median(&times)?)))
            .collect();
        self.steps_ms
            .sort_by(|one, other| one.1.total_cmp(&other.1));
        self
    }

    /// The middle sample.
    pub fn median(&self) -> Option<f64> {
        median(&self.samples)
    }

    /// The sample farthest in the bad direction.
    pub fn worst(&self) -> Option<f64> {
        let order = |one: &&f64, other: &&f64| one.total_cmp(other);
        match self.better {
            Better::Lower => self.samples.iter().max_by(order).copied(),
            Better::Higher => self.samples.iter().min_by(order).copied(),
        }
    }

    /// Whether both targets are met; nothing where there is none or nothing was measured.
    pub fn met(&self) -> Option<bool> {
        let pairs = [
            (self.median(), self.target_median),
            (self.worst(), self.target_worst),
        ];
        let verdicts: Vec<bool> = pairs
            .into_iter()
            .filter_map(|(seen, target)| Some((seen?, target?)))
            .map(|(seen, target)| match self.better {
                // A count of none must be none.
                Better::Lower if target == 0.0 => seen == 0.0,
                Better::Lower => seen < target,
                Better::Higher => seen >= target,
            })
            .collect();
        (!verdicts.is_empty()).then(|| verdicts.iter().all(|met| *met))
    }
}

pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn both_targets_count() {
        let seconds = |samples: &[f64]| Figure::new("gap", Unit::Seconds, samples.to_vec());
        let with = |samples: &[f64]| seconds(samples).below(Some(0.5), Some(1.0)).met();
        assert_eq!(with(&[0.2, 0.3, 0.9]), Some(true));
        assert_eq!(with(&[0.2, 0.3, 1.1]), Some(false));
        assert_eq!(with(&[0.6, 0.6, 0.7]), Some(false));
        assert_eq!(with(&[]), None);
        assert_eq!(seconds(&[1.0]).met(), None);
        let refused = Figure::new("refused", Unit::Count, vec![0.0, 0.0]).below(None, Some(0.0));
        assert_eq!(refused.met(), Some(true));
        let ratio = Figure::new("tps", Unit::Ratio, vec![0.9, 1.2, 1.3]).at_least(1.0);
        assert_eq!((ratio.met(), ratio.worst()), (Some(true), Some(0.9)));
    }
}
