//! What an event changes in what a member knows of its own node. The daemon and the simulator tell
//! [`Local`] what happened through these functions and nothing else, so what both decide from means
//! the same.

use super::local::{
    Data, Failures, Job, JobFailure, JobKind, Local, Probe, Releasable, StopMode, Tree, Upstream,
};
use crate::command::Opened;
use crate::journal::LostRange;
use crate::lineage::Position;
use crate::{Epoch, Lsn, Mono, TimelineId};

/// What a job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobDone {
    /// There is a data directory.
    Initialized,
    /// The receiver is gone, and this is what the data holds.
    Settled {
        /// Its position.
        position: Position,
        /// See [`super::DataCluster::history_ahead`]: a receiver may have brought one.
        newest_history: Option<TimelineId>,
    },
    /// Promoted, at this time.
    Promoted(Opened, Mono),
    /// The data directory is another one now.
    Replaced {
        /// What was given up with the old one, and the epoch that it is missing from.
        lost: Option<(Epoch, LostRange)>,
        /// It was rewound to the primary of this epoch.
        rewound: Option<Epoch>,
    },
    /// A checkpoint was made, for this handover if for one.
    Checkpointed(Option<u64>),
}

impl Local {
    /// PostgreSQL is being started as `tree`, by this process.
    pub fn starts(&mut self, tree: Tree) {
        if let Tree::Primary { epoch, .. } = tree {
            self.served = Some(epoch);
            self.settled = None;
        }
        self.tree = tree;
        self.removed = false;
        self.starting = true;
        self.probe = None;
        self.stopping = None;
        self.upstream = None;
        self.detached_since = None;
    }

    /// The guard has begun the start: there is something to stop now.
    pub fn has_started(&mut self) {
        self.starting = false;
    }

    /// The guard keeps the running standby as the primary's of `epoch` from now on.
    pub fn assumes(&mut self, epoch: Epoch, now: Mono) {
        self.served = Some(epoch);
        self.tree = Tree::Primary { epoch, since: now };
    }

    /// This order to stop was given. False where one as hard was given before, and while the start is
    /// under way: the order would overtake it, come to nothing and count as given.
    pub fn stops(&mut self, mode: StopMode, now: Mono) -> bool {
        if self.starting {
            return false;
        }
        if self.stopping.is_some_and(|(ordered, _)| ordered >= mode) {
            return false;
        }
        self.stopping = Some((mode, now));
        true
    }

    /// The receiver is being pointed to `upstream`: what was settled is void.
    pub fn follows(&mut self, upstream: Upstream, now: Mono) {
        self.upstream = Some(upstream);
        self.detached_since = Some(now);
        self.settled = None;
    }

    /// The receiver could not be pointed to `upstream`. It may run all the same, so it is ended before
    /// anything else is asked of the data.
    pub fn does_not_follow(&mut self, upstream: &Upstream) {
        if self.upstream.as_ref() == Some(upstream) {
            self.upstream = None;
            self.detached_since = None;
            self.settled = None;
        }
    }

    /// PostgreSQL answered. An answer from before the last change of upstream says nothing about it.
    pub fn answers(&mut self, probe: Probe) {
        if !matches!(self.tree, Tree::Standby { .. } | Tree::Primary { .. }) {
            return;
        }
        if self.upstream.is_some() {
            let is_newer = self.detached_since.is_none_or(|since| probe.at > since);
            self.detached_since = match (probe.streaming, is_newer) {
                (true, true) => None,
                (true | false, _) => self.detached_since.or(Some(probe.at)),
            };
        }
        self.start_failures.count = 0;
        // An answer means that it is consistent.
        self.rewound = None;
        if !probe.in_recovery && matches!(self.tree, Tree::Standby { .. }) {
            // Promoted by hand: it has written since it was looked at (P7).
            self.settled = None;
        }
        self.probe = Some(probe);
    }

    /// A start failed, or ended at once.
    pub fn start_failed(&mut self, detail: String, now: Mono) {
        self.start_failures = Failures {
            count: self.start_failures.count + 1,
            at: now,
            detail,
        };
    }

    /// No process of the tree is left; the data directory has to be looked into again.
    pub fn ends(&mut self) {
        if matches!(self.tree, Tree::Primary { .. }) {
            self.settled = None;
        }
        self.tree = Tree::Empty;
        self.starting = false;
        self.data = Data::Unknown;
        self.probe = None;
        self.stopping = None;
        self.upstream = None;
        self.detached_since = None;
        self.promoted = None;
    }

    /// The tree of an epoch is empty, and its secret is at hand.
    pub fn may_release(&mut self, releasable: Releasable) {
        self.releasable = Some(releasable);
    }

    /// The release of `epoch` is on its way: it is never collected again.
    pub fn releases(&mut self, epoch: Epoch) {
        self.releasable = None;
        self.given_up = self.given_up.max(epoch);
    }

    /// The data directory was looked into, with nothing running.
    pub fn finds(&mut self, data: Data) {
        if self.replacing().is_some() {
            // It was looked into before the job began, or in the middle of it.
            return;
        }
        if let Data::Cluster(cluster) = &data
            && cluster.was_primary
        {
            // Nobody may have seen that it was promoted by hand (P7).
            self.settled = None;
        }
        if let Data::Cluster(cluster) = &data
            && self.probe.is_none()
        {
            // An earlier process of this member rewound it: without an upstream it would never get
            // consistent.
            self.rewound = cluster.rewound.or(self.rewound);
        }
        self.data = data;
    }

    /// The data directory of the running PostgreSQL is gone.
    pub fn finds_removed(&mut self) {
        self.removed = matches!(self.tree, Tree::Standby { .. } | Tree::Primary { .. });
    }

    /// The WAL of the primary that ended last ends there, as its files say.
    pub fn finds_end(&mut self, timeline: TimelineId, end: Lsn) {
        let will_tell = matches!(self.data, Data::Cluster(_)) && self.start_failures.count == 0;
        if !will_tell {
            // A clone that does not start says nothing about what was there before it.
            self.gone = self.gone.max(Some((timeline, end)));
        }
    }

    /// A job begins.
    pub fn begins(&mut self, kind: JobKind, now: Mono) {
        if kind.replaces_data() {
            self.loses_data();
        }
        self.job = Some(Job {
            kind,
            since: now,
            progress: None,
            cancelled: false,
        });
    }

    /// The running job came to this.
    pub fn finishes(&mut self, done: JobDone) {
        self.job = None;
        self.failed = None;
        match done {
            JobDone::Initialized => self.settled = None,
            JobDone::Settled {
                position,
                newest_history,
            } => {
                if let Data::Cluster(cluster) = &mut self.data {
                    cluster.history_ahead =
                        newest_history.is_some_and(|newest| newest > position.timeline);
                }
                self.upstream = None;
                self.detached_since = None;
                self.settled = Some(position);
            }
            JobDone::Promoted(opened, at) => {
                self.promoted = Some((opened, at));
                self.settled = None;
            }
            JobDone::Replaced { lost, rewound } => {
                self.rewound = rewound;
                self.settled = None;
                self.start_failures.count = 0;
                self.lost = lost.or(self.lost);
            }
            JobDone::Checkpointed(handover) => self.prepared = handover.or(self.prepared),
        }
    }

    /// The running job came to nothing; what was cancelled did not fail.
    pub fn fails(&mut self, detail: String, now: Mono) {
        let Some(job) = self.job.take().filter(|job| !job.cancelled) else {
            return;
        };
        let same = |failed: &&JobFailure| failed.kind.counts_with(&job.kind);
        let before = self.failed.as_ref().filter(same).map_or(0, |f| f.count);
        self.failed = Some(JobFailure {
            kind: job.kind,
            at: now,
            count: before + 1,
            detail,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::DataCluster;

    fn standby() -> Local {
        Local {
            tree: Tree::Standby {
                since: Mono::ZERO,
                pinned: None,
            },
            data: Data::Cluster(DataCluster::default()),
            settled: Some(Position::default()),
            ..Local::default()
        }
    }

    #[test]
    fn a_promotion_by_hand_voids_what_was_settled() {
        let mut seen = standby();
        seen.answers(Probe {
            in_recovery: false,
            ..Probe::default()
        });
        assert_eq!(seen.settled, None);

        let mut unseen = standby();
        unseen.ends();
        assert!(unseen.settled.is_some());
        unseen.finds(Data::Cluster(DataCluster {
            was_primary: true,
            ..DataCluster::default()
        }));
        assert_eq!(unseen.settled, None);
    }

    #[test]
    fn what_a_standby_was_settled_at_outlives_its_end() {
        let mut local = standby();
        local.ends();
        local.finds(Data::Cluster(DataCluster::default()));
        assert!(local.settled.is_some());
    }

    #[test]
    fn an_ended_primary_is_looked_at_anew() {
        let mut local = standby();
        local.assumes(Epoch(2), Mono::ZERO);
        local.ends();
        assert_eq!(local.settled, None);
    }

    #[test]
    fn settling_tells_of_a_history_that_a_receiver_brought() {
        let mut local = standby();
        local.begins(JobKind::Settle, Mono::ZERO);
        local.finishes(JobDone::Settled {
            position: Position {
                timeline: TimelineId(1),
                ..Position::default()
            },
            newest_history: Some(TimelineId(2)),
        });
        let Data::Cluster(cluster) = &local.data else {
            panic!("{:?}", local.data)
        };
        assert!(cluster.history_ahead);
    }

    #[test]
    fn an_answer_from_before_the_order_is_not_about_the_new_upstream() {
        let mut local = standby();
        let order = Mono::from_millis(10);
        local.follows(
            Upstream {
                node: "n2".into(),
                epoch: Epoch(2),
                slot: String::new(),
                address: String::new(),
            },
            order,
        );
        let answer = |ms| Probe {
            at: Mono::from_millis(ms),
            in_recovery: true,
            streaming: true,
            ..Probe::default()
        };
        local.answers(answer(5));
        assert_eq!(local.detached_since, Some(order));
        local.answers(answer(15));
        assert_eq!(local.detached_since, None);
    }

    #[test]
    fn what_fails_in_a_row() {
        let mut local = standby();
        let mut failures_after = |kind| {
            local.begins(kind, Mono::ZERO);
            local.fails("it ended".to_owned(), Mono::ZERO);
            local.failed.as_ref().map(|failure| failure.count)
        };
        for (from, count) in [("n2", 1), ("n3", 2)] {
            let kind = JobKind::Clone {
                from: from.into(),
                epoch: Epoch(2),
            };
            assert_eq!(failures_after(kind), Some(count));
        }
        // Who asks for a switchover does not wait because a checkpoint failed before.
        for (handover, count) in [(None, 1), (None, 2), (Some(12), 1), (Some(12), 2)] {
            let kind = JobKind::Checkpoint { handover };
            assert_eq!(failures_after(kind), Some(count));
        }
    }
}
