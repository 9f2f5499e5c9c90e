//! What a client did, row by row, and the gaps in it.

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::Lsn;

/// What the client knows about one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// ReadyForQuery came after the commit.
    Acknowledged,
    /// The server said no before it could have committed.
    Refused,
    /// Anything else: the row may be there or not.
    Unknown,
}

/// One row, never tried twice.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Which client.
    pub writer: i32,
    /// The client's counter.
    pub number: i64,
    /// Since the start of the load.
    pub sent: Duration,
    /// Since the start of the load.
    pub ended: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// End of WAL after the row and before its commit record, on its primary.
    pub before_commit: Option<Lsn>,
    /// End of WAL as the same session saw it after the commit.
    pub after_commit: Option<Lsn>,
    /// Timeline of the primary that took it.
    pub timeline: Option<u32>,
}

/// What one client did.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// In the order of sending.
    pub attempts: Vec<Attempt>,
    /// Connections that were not made, by kind or SQLSTATE.
    pub failed_connections: BTreeMap<String, u64>,
}

impl Record {
    /// The longest stretch without an acknowledgement that ended after `since`.
    pub fn longest_gap(&self, since: Duration) -> Option<Gap> {
        let acknowledged: Vec<Duration> = self.acknowledged().map(|row| row.ended).collect();
        acknowledged
            .windows(2)
            .map(|pair| Gap {
                from: pair[0],
                to: pair[1],
            })
            .filter(|gap| gap.to >= since)
            .max_by_key(Gap::length)
    }

    /// The acknowledged rows.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(|row| row.outcome == Outcome::Acknowledged)
    }

    /// Connections that were answered with a refusal, not merely given up by the client.
    pub fn refused_connections(&self) -> u64 {
        let given_up = |kind: &str| kind == "silent" || kind == "prepare: silent";
        self.failed_connections
            .iter()
            .filter(|(kind, _)| !given_up(kind))
            .map(|(_, n)| n)
            .sum()
    }
}

/// A stretch without an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before.
    pub from: Duration,
    /// The first one after.
    pub to: Duration,
}

impl Gap {
    /// Its length.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ended_ms: u64, outcome: Outcome) -> Attempt {
        Attempt {
            writer: 1,
            number: 1,
            sent: Duration::ZERO,
            ended: Duration::from_millis(ended_ms),
            outcome,
            before_commit: None,
            after_commit: None,
            timeline: None,
        }
    }

    #[test]
    fn the_gap_spans_what_was_not_acknowledged() {
        use Outcome::{Acknowledged, Refused, Unknown};
        let attempts = [
            (0, Acknowledged),
            (900, Acknowledged),
            (1000, Acknowledged),
            (1010, Unknown),
            (1300, Refused),
            (1400, Acknowledged),
        ];
        let record = Record {
            attempts: attempts.map(|(at, outcome)| row(at, outcome)).to_vec(),
            failed_connections: BTreeMap::new(),
        };
        let after_fault = record.longest_gap(Duration::from_millis(1005));
        assert_eq!(
            after_fault.map(|gap| gap.length()),
            Some(Duration::from_millis(400))
        );
        let whole = record.longest_gap(Duration::ZERO);
        assert_eq!(
            whole.map(|gap| gap.length()),
            Some(Duration::from_millis(900))
        );
    }

    #[test]
    fn a_client_that_gave_up_was_not_refused() {
        let failed = [("silent", 3), ("57P03", 1), ("connection refused", 2)];
        let record = Record {
            attempts: Vec::new(),
            failed_connections: failed.map(|(kind, n)| (kind.to_owned(), n)).into(),
        };
        assert_eq!(record.refused_connections(), 3);
    }
}
