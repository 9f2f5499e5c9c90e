//! P10 and P11: what must end, and what must not begin.

use std::time::Duration;

use super::Violation;
use crate::Epoch;

/// P10: nothing is waited for longer than `most`. `what` says what has not come, if anything.
pub fn no_endless_wait(
    what: Option<&str>,
    waited: Duration,
    most: Duration,
) -> Result<(), Violation> {
    match what {
        Some(what) if waited > most => Err(Violation::EndlessWait {
            what: what.to_owned(),
            waited,
            most,
        }),
        Some(_) | None => Ok(()),
    }
}

/// P11: while the raft leader changes, dies or is slow, and nothing is taken from the primary, no epoch begins.
/// `begun` are those that did.
pub fn role_kept(begun: impl IntoIterator<Item = Epoch>) -> Result<(), Violation> {
    match begun.into_iter().next() {
        Some(epoch) => Err(Violation::RoleChanged { epoch }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_endless_once_it_is_longer_than_it_may_be() {
        let second = Duration::from_secs(1);
        assert!(no_endless_wait(Some("n1 streams"), second, second).is_ok());
        assert!(no_endless_wait(Some("n1 streams"), second * 2, second).is_err());
        assert!(no_endless_wait(None, second * 2, second).is_ok());
    }

    #[test]
    fn an_epoch_that_nothing_asked_for_is_seen() {
        assert!(role_kept([]).is_ok());
        let broken = role_kept([Epoch(4), Epoch(5)]);
        assert_eq!(broken, Err(Violation::RoleChanged { epoch: Epoch(4) }));
    }
}
