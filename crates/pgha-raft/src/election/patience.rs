//! What a member that does not lead does next. Pure: time and luck are arguments.

use std::time::Duration;

use pgha_core::Mono;

use super::ear::Heard;
use crate::options::Options;

/// Heartbeats without a message after which it is worth a look whether the leader's port is open.
const SILENT_HEARTBEATS: u32 = 2;
/// Between such looks.
const LOOK_HEARTBEATS: u32 = 2;
/// Of the random time, so much is kept where the leader is known to be gone: enough that two members
/// that learned it together rarely stand together.
const GONE_SHARE: u32 = 4;

/// A voter that does not lead.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// Drawn anew for each candidacy.
    pub extra: Duration,
    /// When the leader's port was last looked at.
    pub looked: Option<Mono>,
    /// Not before this: the last candidacy failed.
    pub not_before: Mono,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until then.
    Wait(Mono),
    /// See whether anybody listens on this leader's port.
    Look(u64),
    /// Ask the others whether they would vote for this member.
    Stand,
}

impl Patience {
    pub(crate) fn new(extra: Duration) -> Self {
        Self {
            extra,
            looked: None,
            not_before: Mono::ZERO,
        }
    }

    /// The next step. `alone`: no other voter could object.
    pub(crate) fn next(&self, now: Mono, heard: &Heard, alone: bool, options: &Options) -> Next {
        let stand_at = self.stand_at(heard, alone, options);
        if stand_at <= now {
            return Next::Stand;
        }
        match self.look(heard, options) {
            Some((leader, at)) if at <= now => Next::Look(leader),
            Some((_, at)) => Next::Wait(at.min(stand_at)),
            None => Next::Wait(stand_at),
        }
    }

    fn stand_at(&self, heard: &Heard, alone: bool, options: &Options) -> Mono {
        if alone {
            return Mono::ZERO;
        }
        let due = match heard.gone {
            Some(since) => since + self.extra / GONE_SHARE,
            None => heard.silent_since() + options.lease + self.extra,
        };
        due.max(self.not_before)
    }

    fn look(&self, heard: &Heard, options: &Options) -> Option<(u64, Mono)> {
        let leader = heard.leader.filter(|_| heard.gone.is_none())?;
        let silent = heard.silent_since();
        let first = silent + options.heartbeat * SILENT_HEARTBEATS + options.heartbeat / 2;
        let next = match self.looked.filter(|&looked| looked > silent) {
            Some(looked) => first.max(looked + options.heartbeat * LOOK_HEARTBEATS),
            None => first,
        };
        Some((leader, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    fn heard(at_ms: u64) -> Heard {
        Heard {
            leader: Some(1),
            at: Some(at(at_ms)),
            deaf_until: Mono::ZERO,
            gone: None,
            told_commit: None,
        }
    }

    #[test]
    fn looks_when_heartbeats_stop_and_stands_after_the_lease() {
        let options = Options::default();
        let mut patience = Patience::new(Duration::from_millis(100));
        let next = |patience: &Patience, now, heard: &Heard| {
            patience.next(at(now), heard, false, &options)
        };
        let quiet = heard(1000);
        assert_eq!(next(&patience, 1000, &quiet), Next::Wait(at(1375)));
        assert_eq!(next(&patience, 1375, &quiet), Next::Look(1));
        patience.looked = Some(at(1376));
        assert_eq!(next(&patience, 1377, &quiet), Next::Wait(at(1676)));
        patience.looked = Some(at(1655));
        assert_eq!(next(&patience, 1660, &quiet), Next::Wait(at(1700)));
        assert_eq!(next(&patience, 1700, &quiet), Next::Stand);
        // A message in between starts it all over.
        assert_eq!(next(&patience, 1700, &heard(1690)), Next::Wait(at(2065)));
    }

    #[test]
    fn a_gone_leader_ends_patience_but_not_the_pause_after_a_failed_candidacy() {
        let options = Options::default();
        let mut patience = Patience::new(Duration::from_millis(100));
        let gone = Heard {
            gone: Some(at(1010)),
            ..heard(1000)
        };
        assert_eq!(
            patience.next(at(1010), &gone, false, &options),
            Next::Wait(at(1035))
        );
        assert_eq!(patience.next(at(1035), &gone, false, &options), Next::Stand);
        patience.not_before = at(1200);
        assert_eq!(
            patience.next(at(1040), &gone, false, &options),
            Next::Wait(at(1200))
        );
    }

    #[test]
    fn a_sole_voter_stands_at_once() {
        let patience = Patience::new(Duration::from_millis(100));
        let next = patience.next(at(1), &heard(0), true, &Options::default());
        assert_eq!(next, Next::Stand);
    }
}
