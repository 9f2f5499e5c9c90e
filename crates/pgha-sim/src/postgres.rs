//! The model PostgreSQL: a process tree over a data directory.

use pgha_core::decide::{StopMode, Tree};
use pgha_core::invariant::{self, Violation};

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::node::Postgres;
use crate::time::{MS, SECOND};
use crate::wal::RecordKind;
use crate::world::World;

impl World {
    /// Starts the tree.
    pub fn launch(&mut self, node: usize, tree: &Tree) {
        let id = self.fresh_id();
        let n = &mut self.nodes[node];
        let whole = invariant::started_whole(&n.name, n.disk.marker);
        if whole.is_err() {
            return self.check(whole);
        }
        let Some(data) = &mut n.disk.data else {
            return;
        };
        let recovers = !data.clean;
        data.clean = false;
        data.was_primary = matches!(tree, Tree::Primary { .. });
        n.guard.alive = true;
        n.guard.frozen = false;
        let (pinned, writable, epoch) = match tree {
            Tree::Standby { pinned, .. } => (pinned.is_some(), false, None),
            Tree::Primary { epoch, .. } => (false, true, Some(*epoch)),
            Tree::Unknown | Tree::Empty => return,
        };
        n.postgres = Some(Postgres {
            id,
            epoch,
            pinned,
            ready: false,
            recovering: false,
            writable,
            stopping: None,
            hung: false,
            headless: false,
            receiver: None,
        });
        if self.fault_chance(self.profile.start_fails_percent) {
            let delay = self.span(10, 200);
            let why = "it does not start".to_owned();
            let ends = NodeEvent::PostgresEnds(id, StopMode::Kill, why);
            return self.tree_in(node, delay, ends);
        }
        let delay = if recovers {
            self.span(40, 400)
        } else {
            self.span(20, 120)
        };
        self.tree_in(node, delay, NodeEvent::PostgresReady(id));
    }

    /// It accepts connections. A primary has written the checkpoint that ends its recovery.
    pub fn postgres_ready(&mut self, node: usize, id: u64) {
        let origin = self.fresh_id();
        let n = &mut self.nodes[node];
        let Some(postgres) = n.postgres.as_mut().filter(|p| p.id == id) else {
            return;
        };
        if let Some(data) = &mut n.disk.data {
            if data.end() < data.consistent_at {
                postgres.recovering = true;
                return;
            }
            data.rewound = None;
            data.never_replayed = false;
        }
        postgres.recovering = false;
        postgres.ready = true;
        if postgres.writable
            && let Some(data) = &mut n.disk.data
        {
            let timeline = data.timeline();
            data.append(128, timeline, RecordKind::Background, origin);
            data.control_timeline = timeline;
            data.redo = data.end();
        }
        self.trace(Some(node), || "PostgreSQL is ready".to_owned());
        self.check_synchronous(node);
        self.written(node);
        self.probe_soon(node);
    }

    /// Sends a signal to the tree.
    pub fn signal(&mut self, node: usize, mode: StopMode, why: &str) {
        let n = &mut self.nodes[node];
        let Some(postgres) = &mut n.postgres else {
            return;
        };
        postgres.stopping = Some(mode);
        let (id, hung, epoch) = (postgres.id, postgres.hung, postgres.epoch);
        let secret = n.guard.secret.filter(|(of, _)| Some(*of) == epoch);
        if let (Some((epoch, secret)), true) = (secret, self.is(Mutant::ReleasedEarly)) {
            self.guard_releases(node, epoch, secret, why);
        }
        let delay = match mode {
            StopMode::Kill => self.span(3, 60),
            StopMode::Fast | StopMode::Immediate if hung => return,
            StopMode::Immediate if self.fault_chance(4) => self.span(1000, 3000),
            StopMode::Immediate => self.span(8, 40),
            StopMode::Fast if self.fault_chance(8) => self.span(2000, 9000),
            StopMode::Fast => self.span(20, 200),
        };
        let ends = NodeEvent::PostgresEnds(id, mode, why.to_owned());
        self.tree_in(node, delay, ends);
    }

    /// The tree is proven empty.
    pub fn postgres_ends(&mut self, node: usize, id: u64, mode: StopMode, why: &str) {
        let matches = self.nodes[node]
            .postgres
            .as_ref()
            .is_some_and(|p| p.id == id);
        if !matches {
            return;
        }
        if mode == StopMode::Fast {
            self.shut_down(node);
        }
        let only_postmaster = self.is(Mutant::PostmasterOnly) && mode == StopMode::Kill;
        let n = &mut self.nodes[node];
        let epoch = n.postgres.take().and_then(|postgres| postgres.epoch);
        n.guard.kill_at = None;
        if let (Some(epoch), true) = (epoch, only_postmaster) {
            n.straggler = Some((epoch, self.now + 2 * SECOND));
        }
        let guard = n.guard.alive && !n.guard.frozen;
        let secret = n.guard.secret.filter(|(of, _)| Some(*of) == epoch);
        self.trace(Some(node), || format!("PostgreSQL is gone ({why})"));
        self.chronicle(node, || format!("PostgreSQL is gone: {why}"));
        match (self.nonce(node), epoch, secret) {
            (Some(nonce), epoch, _) => {
                let delay = self.span(0, 3);
                let gone = NodeEvent::TreeEmpty(nonce, epoch, why.to_owned());
                self.sidecar_in(node, delay, gone);
                // A sidecar that was started meanwhile does not have the secret.
                if let (Some(epoch), Some((_, secret)), true) = (epoch, secret, guard)
                    && self.secret_epoch(node) != Some(epoch)
                {
                    self.guard_releases(node, epoch, secret, why);
                }
            }
            (None, Some(epoch), Some((_, secret))) if guard => {
                self.guard_releases(node, epoch, secret, why);
            }
            (None, _, _) => {}
        }
    }

    /// A fast stop: the shutdown checkpoint is written and sent before the walsenders end.
    fn shut_down(&mut self, node: usize) {
        let origin = self.fresh_id();
        let n = &mut self.nodes[node];
        let Some(postgres) = n.postgres.as_ref().filter(|p| p.ready && p.writable) else {
            return;
        };
        let id = postgres.id;
        let Some(data) = &mut n.disk.data else { return };
        let timeline = data.timeline();
        data.append(120, timeline, RecordKind::Background, origin);
        data.control_timeline = timeline;
        data.redo = data.end();
        data.clean = true;
        self.written(node);
        for other in 0..self.nodes.len() {
            let attached = self.nodes[other].postgres_runs()
                && self.nodes[other].postgres.as_ref().is_some_and(|p| {
                    let receiver = p.receiver.as_ref();
                    receiver.is_some_and(|r| r.from == node && r.attached == Some(id))
                });
            if attached && self.linked(node, other) && !self.fault_chance(10) {
                self.copy_wal(other, node, usize::MAX);
            }
        }
    }

    /// PostgreSQL leaves recovery on the timeline that was assigned, if it can.
    pub fn postgres_promotes(&mut self, node: usize, id: u64, job: u64) {
        let origin = self.fresh_id();
        // A node that stood still meanwhile finds its PostgreSQL at it before its guard is.
        let thawing = self.now < self.nodes[node].thawed + 100 * MS;
        // So does one whose sidecar just died.
        let orphaned = self.nodes[node].sidecar.is_none();
        // And one that is being stopped because its epoch is: what its grantors promised runs on.
        let now = self.nodes[node].now(self.now);
        let reused = self.is(Mutant::TimelineReused);
        let promised = self.nodes[node]
            .guard
            .kill_at
            .is_some_and(|kill| now < kill);
        let of = self.nodes[node].postgres.as_ref().and_then(|p| p.epoch);
        let lease_held =
            self.lease_not_ended(node, of.unwrap_or_default()) || promised || thawing || orphaned;
        let n = &mut self.nodes[node];
        let (Some(postgres), Some(data)) = (&mut n.postgres, &mut n.disk.data) else {
            return;
        };
        if postgres.id != id || !postgres.ready || postgres.hung || postgres.writable {
            return;
        }
        let epoch = postgres.epoch.unwrap_or_default();
        let forks = &n.disk.state.lineage.forks;
        let Some((timeline, fork)) = forks.iter().find(|(_, fork)| fork.epoch == epoch) else {
            return;
        };
        let own = data.newest_history.next();
        let assigned = if reused { own } else { own.max(*timeline) };
        let bogus = data.newest_history > data.timeline() && !postgres.pinned;
        let end = data.end();
        let checked = invariant::start(&invariant::StartView {
            member: &n.name,
            epoch,
            lease_held,
            // The order was held against what was adopted then; what came since does not take it back, and
            // finds the gate closed.
            adopted: epoch,
        });
        let reported = fork.fork_lsn;
        postgres.writable = true;
        postgres.receiver = None;
        data.was_primary = true;
        data.append(96, assigned, RecordKind::EndOfRecovery, origin);
        data.newest_history = assigned;
        let member = n.name.clone();
        self.check(checked);
        if end != reported {
            self.check(Err(Violation::Promoted {
                epoch,
                node: member,
                why: format!("it reported {reported} and had {end} when it was promoted"),
            }));
        }
        if bogus {
            let why = "a history file from beyond its end was there: its own would be nonsense";
            self.check(Err(Violation::Promoted {
                epoch,
                node: self.nodes[node].name.clone(),
                why: why.to_owned(),
            }));
        }
        let nonce = self.nonce(node).unwrap_or_default();
        let delay = self.span(3, 30);
        self.sidecar_in(node, delay, NodeEvent::Job(nonce, job, 2));
        self.written(node);
    }
}
