//! A primary that does not come up, and that nobody may replace: it is started again, ever more seldom.

use std::time::Duration;

use super::candidate::Candidate;
use super::{Decision, Input};
use crate::MemberName;
use crate::state::{ClusterState, Revoked};

/// Before the third start in a row; doubled with each that fails. The second one is tried at once: a
/// killed process that the kernel has not buried yet makes the first one fail.
const REST: Duration = Duration::from_secs(1);
/// Who has made room for its WAL waits this long at the most.
const REST_MAX: Duration = Duration::from_secs(30);

/// Why `chosen` is not started again yet, if so. Each start takes an epoch and a crash recovery, and
/// what made it fail, a full disk or a setting, hardly goes away by itself.
pub(super) fn rests(
    input: &Input<'_>,
    revoked: &Revoked,
    chosen: &Candidate<'_>,
    decision: &mut Decision,
) -> Option<String> {
    let name = &chosen.report.name;
    let ordered = revoked.target.as_ref() == Some(name);
    if !chosen.standing.former_primary || chosen.standing.running || ordered {
        return None;
    }
    let failed = failed_starts(input.state, name);
    let rest = rest_after(failed);
    let until = input.since.phase + rest;
    decision.wake(input.now, until);
    (input.now < until).then(|| {
        format!(
            "{name} failed to start {failed} times, and nobody else has its data: it is tried again \
             {} s after the last time. Its run/postgres.log says what is wrong; `pgha-ctl failover --to \
             MEMBER --allow-data-loss` goes on with less data",
            rest.as_secs()
        )
    })
}

/// How often it was started in place since anybody served, without serving itself.
fn failed_starts(state: &ClusterState, name: &MemberName) -> u32 {
    let entries = state.journal.iter().rev();
    let futile = entries
        .filter(|entry| entry.primary.is_some())
        .take_while(|entry| entry.is_futile() && entry.primary.as_ref() == Some(name));
    u32::try_from(futile.count()).unwrap_or(u32::MAX)
}

fn rest_after(failed: u32) -> Duration {
    match failed {
        0 | 1 => Duration::ZERO,
        _ => REST.saturating_mul(1 << (failed - 2).min(5)).min(REST_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_longer_after_each_failure() {
        let seconds = [0, 1, 2, 3, 4, 5, 6, 7, 8, u32::MAX].map(|n| rest_after(n).as_secs());
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
