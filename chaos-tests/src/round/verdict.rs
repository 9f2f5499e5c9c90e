//! What a round showed.

use serde::Serialize;

use super::Switchovers;
use crate::sampler::Pace;

/// Fewer acknowledgements prove nothing.
const ACKNOWLEDGED_MIN: usize = 100;
/// Fewer operations on registers explain themselves in some order, whatever is wrong.
const JUDGED_MIN: usize = 100;

/// The judgement of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was promised held.
    Pass,
    /// Nothing was proved: a fault did not strike, or too little was acknowledged.
    Unknown,
    /// A promise was broken.
    Fail,
}

/// What was looked at from the first fault on: before it nobody can see what it did.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Evidence {
    /// Acknowledged rows.
    pub acknowledged: usize,
    /// Reads of the whole set.
    pub reads: usize,
    /// Operations on registers.
    pub operations: usize,
    /// Acknowledged writes of the sampler.
    pub samples: usize,
    /// Of these, the ones that went straight to a server.
    pub direct: usize,
    /// Of all of them, the ones whose epoch is known.
    pub in_epoch: usize,
    /// Answers of health checks that a gate is open.
    pub gates: usize,
}

/// Everything about a round.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Broken promises, in words.
    pub wrong: Vec<String>,
    /// Faults that did not strike, with the reason.
    pub missed: Vec<String>,
    /// Faults of a mixed round that found their target felled by another one.
    pub idle: Vec<String>,
    /// Faults that struck.
    pub struck: usize,
    /// Faults that had to end an epoch.
    pub demanded: usize,
    /// Switchovers, among the faults.
    pub switchovers: Switchovers,
    /// Changes of primary, restarts in place among them.
    pub failovers: usize,
    /// The epochs that they began.
    pub epochs: Vec<u64>,
    /// Each of them: its epoch, the new primary, and why.
    pub changes: Vec<String>,
    /// The longest time in which no client was acknowledged, in milliseconds.
    pub worst_gap_ms: u64,
    /// Rows that were acknowledged.
    pub acknowledged: usize,
    /// Of these, the ones that the journal reports as lost.
    pub lost_reported: usize,
    /// Of these, the ones that are gone without a word.
    pub lost_unreported: usize,
    /// Rows of unknown outcome that are there.
    pub unknown_present: usize,
    /// What was looked at while it could show something.
    pub evidence: Evidence,
    /// How steadily the sampler looked at each port and server, from the first fault on.
    pub lanes: Vec<Pace>,
    /// Operations on registers that were judged.
    pub operations: usize,
    /// Answers of registers that were left out: they may have seen what was rolled back.
    pub left_out: usize,
    /// What could not be judged.
    pub unjudged: Vec<String>,
    /// Writes of the sampler that were acknowledged.
    pub samples: usize,
    /// Of these, direct ones that no promise covers: the guard was frozen, or somebody promoted by hand.
    pub excused: usize,
    /// What would be broken promises if these writes were covered by one, in words.
    pub uncovered: Vec<String>,
    /// From the end of the last fault to all members streaming, in milliseconds.
    pub converged_ms: u64,
}

impl Outcome {
    /// A broken promise counts, whatever else did not work.
    pub fn verdict(&self) -> Verdict {
        if !self.wrong.is_empty() {
            return Verdict::Fail;
        }
        if self.doubts().is_empty() {
            Verdict::Pass
        } else {
            Verdict::Unknown
        }
    }

    /// The harness failed, which says nothing about the cluster.
    pub fn of_a_broken_harness(error: &anyhow::Error) -> Self {
        Self {
            missed: vec![format!("the harness failed: {error:#}")],
            ..Self::default()
        }
    }

    /// Why it proves nothing, if so.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = [self.missed.as_slice(), &self.unjudged].concat();
        if self.struck == 0 {
            doubts.push("nothing struck".to_owned());
        }
        let seen = &self.evidence;
        if seen.acknowledged < ACKNOWLEDGED_MIN {
            doubts.push(format!(
                "only {} rows were acknowledged after the first fault",
                seen.acknowledged
            ));
        }
        if seen.reads == 0 || seen.operations == 0 {
            doubts.push(format!(
                "{} reads, {} operations on registers after the first fault",
                seen.reads, seen.operations
            ));
        }
        if self.operations < JUDGED_MIN || self.left_out > self.operations {
            doubts.push(format!(
                "only {} operations on registers could be judged, {} were left out",
                self.operations, self.left_out
            ));
        }
        // Each of them looks for another promise that may be broken.
        if [
            seen.samples.saturating_sub(seen.direct),
            seen.direct,
            seen.in_epoch,
            seen.gates,
        ]
        .contains(&0)
        {
            doubts.push(format!(
                "{} samples, {} of them direct, {} with a known epoch, {} open gates after the first fault",
                seen.samples, seen.direct, seen.in_epoch, seen.gates
            ));
        }
        doubts.extend(self.lanes.iter().filter_map(Pace::doubt));
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Outcome {
        Outcome {
            struck: 1,
            operations: 1000,
            evidence: Evidence {
                acknowledged: 1000,
                reads: 10,
                operations: 1000,
                samples: 100,
                direct: 50,
                in_epoch: 50,
                gates: 10,
            },
            ..Outcome::default()
        }
    }

    #[test]
    fn what_proves_nothing_does_not_pass() {
        assert_eq!(good().verdict(), Verdict::Pass);
        let doubtful: [fn(&mut Outcome); 13] = [
            |o| o.struck = 0,
            |o| o.missed = vec!["no guard".to_owned()],
            |o| o.evidence.acknowledged = 99,
            |o| o.evidence.reads = 0,
            |o| o.evidence.samples = 50,
            |o| o.evidence.direct = 0,
            |o| o.evidence.in_epoch = 0,
            |o| o.evidence.gates = 0,
            |o| o.lanes = vec![Pace::default()],
            |o| o.evidence.operations = 0,
            |o| o.operations = 99,
            |o| o.left_out = 1001,
            |o| o.unjudged = vec!["too long".to_owned()],
        ];
        for spoil in doubtful {
            let mut outcome = good();
            spoil(&mut outcome);
            assert_eq!(outcome.verdict(), Verdict::Unknown, "{outcome:?}");
            outcome.wrong.push("two writers".to_owned());
            assert_eq!(outcome.verdict(), Verdict::Fail);
        }
    }
}
