//! What had to follow from what was done: the end of an epoch, the order of a switchover.

use std::time::Instant;

use serde::Serialize;

use super::Blows;
use crate::history::HistoryEntry;
use crate::nemesis::{Blow, Kind};

/// The switchovers of a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Switchovers {
    /// All that were ordered.
    pub ordered: usize,
    /// Of these, the ones that were ordered while something else lasted.
    pub meanwhile: usize,
    /// Of these all, the ones that were carried out; others were refused, or came too late.
    pub done: usize,
}

/// The faults that the primary could not survive in its epoch.
pub(super) fn fatal(blows: &Blows) -> impl Iterator<Item = (&Blow, u64)> {
    blows.iter().filter_map(|blow| {
        let ends = blow.proved && blow.entry.kind.ends_epoch(blow.entry.length);
        let ends = ends && !blows.iter().any(|other| thaws(other, blow));
        blow.served.filter(|_| ends).map(|epoch| (blow, epoch))
    })
}

/// A process that two have frozen goes on with the first SIGCONT.
fn thaws(other: &Blow, blow: &Blow) -> bool {
    let both_freeze = other.entry.kind.freezes() && blow.entry.kind.freezes();
    let one_victim = other.victims.iter().any(|name| blow.victims.contains(name));
    let earlier = |end: Instant| end > blow.struck && blow.ended.is_none_or(|own| end < own);
    both_freeze && one_victim && other.ended.is_some_and(earlier)
}

/// Those that no entry of the journal followed, in words.
pub(super) fn without_consequence(blows: &Blows, journal: &[HistoryEntry]) -> Vec<String> {
    fatal(blows)
        .filter(|(_, epoch)| !journal.iter().any(|entry| entry.epoch > *epoch))
        .map(|(blow, epoch)| {
            let (kind, length) = (blow.entry.kind.name(), blow.entry.length);
            format!(
                "{kind} of {:?} for {length:?}, which served epoch {epoch}: no other epoch followed",
                blow.victims
            )
        })
        .collect()
}

pub(super) fn switchovers(blows: &Blows) -> Switchovers {
    let lasted = |at: Instant| {
        let others = blows.iter().filter(|b| b.entry.kind != Kind::Switchover);
        let mut lasting = others.filter(|b| b.struck <= at && b.ended.is_none_or(|end| at < end));
        lasting.next().is_some()
    };
    let all = || blows.iter().filter(|b| b.entry.kind == Kind::Switchover);
    Switchovers {
        ordered: all().count(),
        meanwhile: all().filter(|b| lasted(b.struck)).count(),
        done: all().filter(|b| b.proved).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(epoch: u64) -> HistoryEntry {
        HistoryEntry {
            epoch,
            ..HistoryEntry::example(2, None)
        }
    }

    fn blow(kind: Kind, struck_ms: u64, ended_ms: u64) -> Blow {
        Blow::example(kind, "n1", Instant::now(), struck_ms, ended_ms)
    }

    fn serving(mut blow: Blow) -> Blow {
        blow.served = Some(4);
        blow
    }

    fn in_vain(mut blow: Blow) -> Blow {
        blow.idle = true;
        blow.proved = false;
        blow
    }

    #[test]
    fn an_epoch_that_had_to_end_and_did_not_is_wrong() {
        let killed = || vec![serving(blow(Kind::PostmasterKilled, 100, 100))];
        assert_eq!(without_consequence(&killed(), &[entry(4)]).len(), 1);
        assert!(without_consequence(&killed(), &[entry(4), entry(5)]).is_empty());
        let cut = |length: u64| vec![serving(blow(Kind::HostCut, 100, 100 + length))];
        assert_eq!(without_consequence(&cut(4_000), &[]).len(), 1);
        assert!(without_consequence(&cut(1_000), &[]).is_empty());
    }

    #[test]
    fn nothing_is_claimed_of_a_freeze_that_another_one_ended() {
        let origin = Instant::now();
        let frozen = |victim, struck, ended| {
            let blow = Blow::example(Kind::NodeFrozen, victim, origin, struck, ended);
            serving(blow)
        };
        let of = |second: Blow| vec![frozen("n1", 100, 4_000), second];
        let told = |second| without_consequence(&of(second), &[]).len();
        assert_eq!(told(frozen("n1", 500, 900)), 0);
        assert_eq!(told(frozen("n2", 500, 900)), 1);
        assert_eq!(told(frozen("n1", 4_500, 4_900)), 1);
    }

    #[test]
    fn nothing_is_claimed_of_a_replica_nor_of_what_did_not_strike() {
        let replica = vec![blow(Kind::PostmasterKilled, 100, 100)];
        assert!(without_consequence(&replica, &[]).is_empty());
        let idle = in_vain(serving(blow(Kind::HostCut, 100, 5_000)));
        assert!(without_consequence(&vec![idle], &[]).is_empty());
    }

    #[test]
    fn a_switchover_meanwhile_is_one_that_was_ordered_while_something_lasted() {
        let origin = Instant::now();
        let blow = |kind, struck, ended| Blow::example(kind, "n1", origin, struck, ended);
        let refused = in_vain(blow(Kind::Switchover, 1_500, 1_600));
        let blows = vec![
            blow(Kind::HostCut, 1_000, 2_000),
            refused,
            blow(Kind::Switchover, 2_500, 3_000),
        ];
        let expected = Switchovers {
            ordered: 2,
            meanwhile: 1,
            done: 1,
        };
        assert_eq!(switchovers(&blows), expected);
        assert_eq!(switchovers(&Vec::new()), Switchovers::default());
    }
}
