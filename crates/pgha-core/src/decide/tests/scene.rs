//! One member's view of a cluster of three, to be changed and decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::entries::{create, name, opened, primary};
use super::views::{cluster, expired, report_of};
use crate::command::{Command, Primary, Revoke};
use crate::decide::*;
use crate::journal::Cause;
use crate::lease::Quorums;
use crate::lineage::Position;
use crate::report::{MemberReport, Standing};
use crate::state::Phase;
use crate::{ClusterState, Epoch, ForkId, Lsn, Nonce, RaftId, StartKind};

pub(super) const NOW: Mono = Mono::from_millis(1_000_000);

/// One member's view, n1's unless changed, of a cluster of three; n1 leads the Raft group.
pub(super) struct Scene {
    pub(super) me: Me,
    pub(super) state: ClusterState,
    pub(super) since: Since,
    pub(super) raft: RaftView,
    pub(super) local: Local,
    pub(super) peers: BTreeMap<MemberName, Heard>,
    pub(super) index: u64,
}

impl Scene {
    /// n2 was the first primary, opened, on timeline 1.
    pub(super) fn new() -> Self {
        let ids: BTreeSet<RaftId> = (1..=3).map(RaftId).collect();
        let voters = ids.iter().map(|id| (*id, name(id.0))).collect();
        let mut scene = Self {
            me: Me {
                name: name(1),
                nonce: Nonce(1),
                kind: MemberKind::Data,
            },
            state: ClusterState::default(),
            since: Since::default(),
            raft: RaftView {
                leader: Some(name(1)),
                leads: true,
                quorum: true,
                quorums: Quorums::new([ids]),
                voters,
                transfer_tried: Some(NOW),
            },
            local: Local::default(),
            peers: BTreeMap::new(),
            index: 0,
        };
        scene.apply(create());
        scene.apply(Command::Bootstrap {
            expected: Epoch(0),
            node: name(2),
        });
        scene.apply(primary(1, 2, StartKind::Initial, 1, 1, 0));
        scene.apply(opened(1, 1, None));
        scene.local.adopted = Epoch(1);
        scene.local.data = Data::Cluster(cluster());
        scene
    }

    pub(super) fn apply(&mut self, command: Command) {
        self.index += 1;
        self.state.apply(self.index, &command).expect("accepted");
        self.local.adopted = self.state.epoch;
    }

    /// The newest epoch ends for this cause, with 10 s gone since.
    pub(super) fn revoke(&mut self, cause: Cause) {
        self.apply(Command::Revoke(Revoke {
            expected: self.state.epoch,
            cause,
            leader: name(1),
            at: String::new(),
            steps: Vec::new(),
        }));
        self.since.phase = NOW - Duration::from_secs(10);
    }

    pub(super) fn hears(&mut self, report: MemberReport) {
        let heard = Heard {
            report,
            at: NOW,
            since: Mono::ZERO,
            refused_at: None,
        };
        self.peers.insert(heard.report.name.clone(), heard);
    }

    /// The holder of `epoch` told this member last that its WAL goes so far.
    pub(super) fn was_told(&mut self, epoch: u64, flush_lsn: u64) {
        self.local.grant = LocalGrant {
            epoch: Epoch(epoch),
            flush_lsn: Some(Lsn(flush_lsn)),
            remembers: true,
            ..LocalGrant::default()
        };
    }

    /// A peer answers the current Revoke.
    pub(super) fn stands(&mut self, who: u64, position: Position, former_primary: bool) {
        let Phase::Revoked(revoked) = &self.state.phase else {
            panic!("not revoked")
        };
        let mut report = report_of(who);
        report.standing = Some(Standing {
            epoch: self.state.epoch,
            index: revoked.index,
            position,
            former_primary,
            running: false,
            end_is_exact: former_primary,
            redo_bytes: Some(0),
        });
        self.hears(report);
    }

    fn input<'a>(&'a self, fresh: &'a Fresh) -> Input<'a> {
        Input {
            me: &self.me,
            now: NOW,
            state: &self.state,
            since: self.since,
            raft: &self.raft,
            local: &self.local,
            peers: &self.peers,
            fresh,
        }
    }

    pub(super) fn decide(&self) -> Decision {
        let decision = decide(&self.input(&nothing_fresh()));
        assert!(
            decision.wake_at > NOW,
            "wakes at {:?} for what was just decided",
            decision.wake_at
        );
        decision
    }

    /// What this member reports.
    pub(super) fn tells(&self) -> MemberReport {
        report(&self.input(&nothing_fresh()), &Why::default()).expect("a member")
    }

    /// The entry of a primary that is proposed.
    pub(super) fn names(&self) -> Option<Primary> {
        self.decide()
            .actions
            .into_iter()
            .find_map(|action| match action {
                Action::Propose(command) => match *command {
                    Command::Primary(primary) => Some(primary),
                    _ => None,
                },
                _ => None,
            })
    }

    /// Who is proposed as primary, and how.
    pub(super) fn elects(&self) -> Option<(MemberName, StartKind)> {
        self.names().map(|primary| (primary.node, primary.kind))
    }

    /// n3 was promoted to timeline 2 at 0/1000 in the epoch after, and opened unless it did not.
    pub(super) fn promote_n3(&mut self, open: bool) {
        self.revoke(expired());
        let epoch = self.state.epoch.0;
        self.apply(primary(epoch, 3, StartKind::Promotion, 2, 1, 0x1000));
        if open {
            self.apply(opened(epoch, 2, Some(0x1000)));
        }
        self.since.phase = NOW - Duration::from_secs(60);
    }

    /// A standby without upstream runs here, and its data was read.
    pub(super) fn settled(&mut self, position: Position) {
        self.local.tree = Tree::Standby {
            since: NOW,
            pinned: None,
        };
        self.local.probe = Some(Probe {
            in_recovery: true,
            timeline: position.timeline,
            received: position.end,
            replayed: position.end,
            ..Probe::default()
        });
        self.local.settled = Some(position);
    }
}

fn nothing_fresh() -> Fresh {
    Fresh {
        fork_id: ForkId::from("fresh"),
        at: String::new(),
    }
}
