//! The same grantor at another time.

use std::time::Duration;

use super::{Grantor, Promise};
use crate::Mono;

impl<M: PartialEq + Clone> Grantor<M> {
    /// This grantor as it is at `now`, with a clock that shows `to` instead, and without what no answer
    /// to a renewal depends on any more. Whoever goes through all states can tell two of them for one by
    /// it. `longest_wait` is the longest that any renewal will ask a started or changed voter to wait;
    /// `settled` says that the membership will not change. `to` is to be later than `longest_wait`.
    pub fn rebased(&self, now: Mono, to: Mono, longest_wait: Duration, settled: bool) -> Self {
        let ahead = |at: Mono| {
            if at <= now {
                Mono::ZERO
            } else {
                to + at.since(now)
            }
        };
        let behind = |at: Mono| to - now.since(at);
        let waits = self.quiet_until.max(self.quiet_from + longest_wait) > now;
        // Who it was given to is asked while it lives, for its own epoch, and while others wait.
        let counts = |promise: &&Promise| {
            let others_wait = waits || !settled || !self.caught_up;
            promise.until > now || promise.epoch >= self.adopted || others_wait
        };
        let promise = self.promise.as_ref().filter(counts);
        let promise = promise.map(|promise| Promise {
            until: ahead(promise.until),
            received: if promise.until > now {
                behind(promise.received)
            } else {
                Mono::ZERO
            },
            ..promise.clone()
        });
        let released = self.released.filter(|(epoch, _)| *epoch >= self.adopted);
        let known = self.epoch_known;
        Self {
            promise,
            released,
            started: if self.caught_up {
                Mono::ZERO
            } else {
                behind(self.started)
            },
            quiet_until: ahead(self.quiet_until),
            quiet_from: if waits {
                behind(self.quiet_from)
            } else {
                Mono::ZERO
            },
            epoch_known: known.map(|(epoch, since)| (epoch, behind(since))),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lease::{Answer, LeaseTiming, Release, Renewal, release_hash};
    use crate::{Epoch, Lsn, Nonce};

    const WAIT: Duration = Duration::from_micros(3_003_000);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Renew { epoch: u64, nonce: u64, long: bool },
        Release(u64),
        Adopt(u64),
        Membership(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..5).prop_map(|halves| Step::Pass(halves * 750)),
            (1u64..4, 1u64..4, any::<bool>()).prop_map(|(epoch, nonce, long)| Step::Renew {
                epoch,
                nonce,
                long
            }),
            (1u64..4).prop_map(Step::Release),
            (1u64..4).prop_map(Step::Adopt),
            (1u64..3).prop_map(Step::Membership),
        ]
    }

    /// What a grantor answers to these steps, begun at `now`.
    fn run(grantor: &mut Grantor<u64>, mut now: Mono, steps: &[Step]) -> (Vec<Answer>, Mono) {
        let mut answers = Vec::new();
        for step in steps {
            match *step {
                Step::Pass(ms) => now = now + Duration::from_millis(ms),
                Step::Renew { epoch, nonce, long } => {
                    let ms = if long { 3000 } else { 1500 };
                    answers.push(grantor.renew(
                        now,
                        &Renewal {
                            epoch: Epoch(epoch),
                            nonce: Nonce(nonce),
                            timing: LeaseTiming::from_millis(ms).expect("valid"),
                            start_wait: WAIT,
                            release_hash: release_hash(&[epoch as u8]),
                            flush_lsn: Lsn(0),
                            membership: grantor.membership.expect("set"),
                            adopted: Epoch(epoch),
                            held: false,
                        },
                    ));
                }
                Step::Release(epoch) => {
                    let _: Release = grantor.release(Epoch(epoch), &[epoch as u8]);
                }
                Step::Adopt(epoch) => grantor.adopt(Epoch(epoch)),
                Step::Membership(membership) => grantor.set_membership(membership, now, WAIT),
            }
        }
        (answers, now)
    }

    proptest! {
        #[test]
        fn answers_as_before(
            before in prop::collection::vec(step(), 0..12),
            after in prop::collection::vec(step(), 0..12),
            settled in any::<bool>(),
        ) {
            let begin = Mono::from_millis(1_000_000);
            let mut grantor = Grantor::started(Epoch(1), None, Some(1), begin, WAIT);
            grantor.set_caught_up(WAIT);
            let (_, now) = run(&mut grantor, begin, &before);
            let to = Mono::from_millis(5_000_000);
            let mut moved = grantor.rebased(now, to, WAIT, settled);
            prop_assert_eq!(moved.rebased(to, to, WAIT, settled), moved.clone());
            let same = |step: &Step| !settled || !matches!(step, Step::Membership(_));
            let after: Vec<_> = after.into_iter().filter(same).collect();
            let (expected, _) = run(&mut grantor, now, &after);
            let (answers, _) = run(&mut moved, to, &after);
            prop_assert_eq!(answers, expected);
        }
    }
}
