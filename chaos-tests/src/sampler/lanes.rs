//! How steadily each port and each server was looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Seen, Via};

/// No lane begins no look for longer than this, or who served meanwhile was not seen by it: a lease, within
/// which whoever serves beside another one has to do so. A look that is held up gives way to the next after
/// half a second at most, which leaves twice as much to two cores that are busy with the members, their
/// clients and other tests.
const STILL_MAX: Duration = Duration::from_millis(1_500);

/// The looks at one port or server, on the sampler's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// When each look began: a login, or a write over a session.
    pub looks: Vec<Duration>,
    /// When the server or its host had said something: yes or no.
    pub answers: Vec<Duration>,
}

/// What is told of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Which port or server.
    pub lane: String,
    /// Looks that were begun.
    pub looks: usize,
    /// Answers to them.
    pub answers: usize,
    /// The longest time in which no look was begun, in milliseconds.
    pub longest_pause_ms: u64,
}

impl Lane {
    /// The longest time between two looks that reaches beyond `since`.
    fn longest_pause(&self, since: Duration, ended: Duration) -> Duration {
        let mut last = Duration::ZERO;
        let mut longest = Duration::ZERO;
        for at in self.looks.iter().copied().chain([ended]) {
            if at > since {
                longest = longest.max(at.saturating_sub(last));
            }
            last = at;
        }
        longest
    }
}

impl Pace {
    /// Of every lane, from `since` on.
    pub(crate) fn of(seen: &Seen, since: Duration) -> Vec<Self> {
        let pace = |(via, lane): (&Via, &Lane)| {
            let after = |times: &[Duration]| times.iter().filter(|at| **at >= since).count();
            let pause = lane.longest_pause(since, seen.ended).as_millis();
            Self {
                lane: via.to_string(),
                looks: after(&lane.looks),
                answers: after(&lane.answers),
                longest_pause_ms: u64::try_from(pause).unwrap_or(u64::MAX),
            }
        };
        BTreeMap::iter(&seen.lanes).map(pace).collect()
    }

    /// Why it proves nothing, if so.
    pub fn doubt(&self) -> Option<String> {
        if Duration::from_millis(self.longest_pause_ms) > STILL_MAX {
            let ms = self.longest_pause_ms;
            return Some(format!("nobody looked at the {} for {ms} ms", self.lane));
        }
        (self.answers == 0).then(|| format!("the {} never answered", self.lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paces(looks: &[u64], since: u64, ended: u64) -> Vec<Pace> {
        let lane = Lane {
            looks: looks.iter().copied().map(Duration::from_millis).collect(),
            answers: vec![Duration::from_millis(since)],
        };
        let seen = Seen {
            lanes: [(Via::Port("n1".to_owned()), lane)].into(),
            ended: Duration::from_millis(ended),
            ..Seen::default()
        };
        Pace::of(&seen, Duration::from_millis(since))
    }

    #[test]
    fn the_longest_pause_counts_up_to_the_end_and_not_before_the_first_fault() {
        let pause = |looks, since, ended| paces(looks, since, ended)[0].longest_pause_ms;
        assert_eq!(pause(&[100, 150, 900, 950], 0, 1000), 750);
        assert_eq!(pause(&[100, 900, 950, 1300], 910, 1400), 350);
        assert_eq!(pause(&[100, 900, 950], 500, 1000), 800);
        assert_eq!(pause(&[100], 500, 3000), 2900);
        assert_eq!(pause(&[], 500, 3000), 3000);
    }

    #[test]
    fn who_stands_still_or_never_hears_anything_proves_nothing() {
        let steady: Vec<u64> = (0..40).map(|look| look * 50).collect();
        let pace = &paces(&steady, 500, 2000)[0];
        assert_eq!((pace.looks, pace.doubt()), (30, None));
        let still = &paces(&steady, 500, 3460)[0];
        assert!(
            still
                .doubt()
                .is_some_and(|doubt| doubt.contains("port of n1 for 1510 ms"))
        );
        let deaf = Pace {
            answers: 0,
            ..pace.clone()
        };
        assert!(deaf.doubt().is_some());
    }
}
