//! Breaks things.

use pgha_core::decide::StopMode;
use rand::Rng;

use crate::event::{Event, Layer, NodeEvent};
use crate::fault::{Fault, Mend};
use crate::node::Node;
use crate::time::Nanos;
use crate::wal::DataDirectory;
use crate::world::{DiesDeciding, World};

impl World {
    /// Breaks something.
    pub fn strike(&mut self, fault: Fault) {
        let node = self.victim();
        let other = self.rng.random_range(0..self.nodes.len());
        self.trace(Some(node), || format!("FAULT {fault:?}"));
        let before = self.conditions();
        self.break_with(fault, node, other);
        let how = match self.conditions() == before {
            true => " without effect",
            false => "",
        };
        self.count(&format!("fault {fault:?}{how}"));
    }

    /// All that a fault may change: one that finds nothing to break has not struck.
    fn conditions(&self) -> impl PartialEq + use<> {
        let of = |n: &Node| {
            let postgres = n.postgres.as_ref();
            let stopping = n.sidecar.as_ref().map(|s| s.local.shutting_down);
            (
                (
                    n.up,
                    n.frozen,
                    n.sidecar_frozen,
                    n.apply_slow,
                    n.disk_stalls,
                ),
                (n.removal, n.disk.store.clone(), stopping),
                (n.guard.alive, n.guard.frozen),
                postgres.map(|p| (p.id, p.hung, p.writable, p.headless, p.stopping)),
            )
        };
        let nodes: Vec<_> = self.nodes.iter().map(of).collect();
        let orders = (
            self.raft.transfer,
            self.dies_in_decision,
            self.by_hand_meanwhile,
        );
        (nodes, self.cut.clone(), orders, self.queue.pushed())
    }

    fn break_with(&mut self, fault: Fault, node: usize, other: usize) {
        match fault {
            Fault::SidecarDies => self.die(node, false),
            Fault::NodeDies => self.die(node, true),
            Fault::SidecarDiesDeciding | Fault::NodeDiesDeciding => {
                let whole = fault == Fault::NodeDiesDeciding;
                self.dies_in_decision = Some(DiesDeciding { node, whole });
            }
            Fault::SidecarFreezes => self.freeze(node, false),
            Fault::NodeFreezes => self.freeze(node, true),
            Fault::PostgresDies => self.postmaster_dies(node),
            Fault::PostgresHangs => self.hang(node),
            Fault::GuardDies => self.guard_dies(node),
            Fault::PairCut => self.cut(&[(node, other), (other, node)]),
            Fault::OneWayCut => self.cut(&[(node, other)]),
            Fault::NodeCut => {
                let links: Vec<_> = (0..self.nodes.len())
                    .flat_map(|peer| [(node, peer), (peer, node)])
                    .collect();
                self.cut(&links);
            }
            Fault::LeaderChanges => self.raft.transfer = Some(node),
            Fault::ApplySlow => {
                self.nodes[node].apply_slow = true;
                self.mend_in(200, 6000, Mend::Apply(node));
            }
            Fault::DataWiped => {
                // Decided without a draw: the seeds that are kept stay what they were.
                let sidecar_lives = self.now.is_multiple_of(2);
                self.wipe(node, sidecar_lives);
            }
            Fault::HandPromotion => self.hand_promotion(node),
            Fault::HandPromotionMeanwhile => self.by_hand_meanwhile = true,
            Fault::Switchover | Fault::OperatorFailover | Fault::Settings => self.operate(fault),
            Fault::Restart => self.ask_to_stop(node),
            Fault::OthersDie => self.others_die(),
            Fault::GuardFreezes => self.guard_freezes(node),
            Fault::DiskStalls => {
                self.nodes[node].disk_stalls = true;
                self.mend_in(200, 6000, Mend::Disk(node));
            }
            Fault::StoreWiped => self.wipe_store(node),
            Fault::QuorumLost => self.lose_quorum(),
        }
    }

    /// The primary half the time: that is where faults hurt.
    fn victim(&mut self) -> usize {
        let primary = self.truth.primary().map(|record| record.node.clone());
        let primary = primary.and_then(|name| self.index_of(&name));
        match primary {
            Some(primary) if self.chance(40) => primary,
            Some(_) | None => self.rng.random_range(0..self.nodes.len()),
        }
    }

    /// Where a script runs, nothing mends itself.
    pub(crate) fn mend_in(&mut self, from_ms: u64, to_ms: u64, mend: Mend) {
        if self.chronicle.is_some() {
            return;
        }
        let after = self.span(from_ms, to_ms);
        self.queue.push(self.now + after, Event::Mend(mend));
    }

    /// The sidecar, or the whole node, is gone at once.
    pub fn die(&mut self, node: usize, whole: bool) {
        self.die_for(node, whole, 5000);
    }

    fn die_for(&mut self, node: usize, whole: bool, longest_ms: u64) {
        let n = &mut self.nodes[node];
        if !n.up || (!whole && n.sidecar.is_none()) {
            return;
        }
        self.trace(Some(node), || format!("dies (whole node: {whole})"));
        if self.raft.leader == Some(node) {
            self.raft.leader = None;
        }
        let n = &mut self.nodes[node];
        n.sidecar = None;
        n.end_held = false;
        n.sidecar_frozen = false;
        // What it would have read is in the buffers of its own sockets and pipes.
        let sidecars = |event: &Event| {
            matches!(
                event,
                Event::Node {
                    layer: Layer::Sidecar,
                    ..
                }
            )
        };
        n.deferred.retain(|event| !sidecars(event));
        if whole {
            n.up = false;
            n.frozen = false;
            n.disk_stalls = false;
            n.deferred.clear();
            n.postgres = None;
            n.guard = crate::node::Guard::default();
            self.power_is_lost(node);
            return self.mend_in(300, 9000, Mend::Boot(node));
        }
        let primary = n.postgres.as_ref().is_some_and(|p| p.epoch.is_some());
        let frozen = n.frozen;
        if primary && n.guard.alive && !n.guard.frozen && !frozen {
            self.signal(node, StopMode::Kill, "its sidecar died");
        }
        if self.chronicle.is_none() {
            let after = self.span(50, longest_ms);
            self.sidecar_in(node, after, NodeEvent::SidecarStarts);
        }
    }

    fn others_die(&mut self) {
        let primary = self.truth.primary().map(|record| record.node.clone());
        let Some(primary) = primary.and_then(|name| self.index_of(&name)) else {
            return;
        };
        for other in (0..self.nodes.len()).filter(|other| *other != primary) {
            self.die_for(other, false, 200);
            self.cut(&[(primary, other), (other, primary)]);
        }
        let after = self.span(400, 1500);
        let order = Event::Fault(Fault::OperatorFailover);
        self.queue.push(self.now + after, order);
    }

    pub(crate) fn freeze(&mut self, node: usize, whole: bool) {
        let n = &mut self.nodes[node];
        if !n.up || n.frozen || n.sidecar_frozen {
            return;
        }
        let mend = if whole {
            n.frozen = true;
            Mend::Node(node)
        } else {
            n.sidecar_frozen = true;
            Mend::Sidecar(node)
        };
        let longest = if self.chance(50) { 2500 } else { 15_000 };
        self.mend_in(20, longest, mend);
    }

    pub(crate) fn hang(&mut self, node: usize) {
        if let Some(postgres) = &mut self.nodes[node].postgres {
            postgres.hung = true;
            let id = postgres.id;
            self.mend_in(500, 30_000, Mend::Postgres(node, id));
        }
    }

    /// The sidecar, a subreaper too, empties the tree; a frozen one does so when it thaws.
    pub(crate) fn guard_dies(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        n.guard.alive = false;
        n.guard.frozen = false;
        n.guard.kill_at = None;
        if n.sidecar_runs() {
            self.signal(node, StopMode::Kill, "its guard died");
        }
    }

    /// The guard kills what is left; one that stands still does not.
    fn postmaster_dies(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        match &mut n.postgres {
            Some(postgres) if n.guard.frozen => {
                postgres.headless = true;
                self.count("backends outlive their postmaster");
            }
            Some(_) | None => self.signal(node, StopMode::Kill, "killed by somebody"),
        }
    }

    /// Its stamp stays away: after half a lease its sidecar takes it for dead (decision 0008).
    pub(crate) fn guard_freezes(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        let Some(id) = n.postgres.as_ref().map(|p| p.id).filter(|_| n.guard.alive) else {
            return;
        };
        if std::mem::replace(&mut n.guard.frozen, true) {
            return;
        }
        let half = n.disk.state.settings.lease().lease() / 2;
        let half = u64::try_from(half.as_nanos()).unwrap_or(Nanos::MAX);
        self.sidecar_in(node, half, NodeEvent::GuardMissed(id));
        let longest = if self.chance(50) { 900 } else { 15_000 };
        self.mend_in(20, longest, Mend::Guard(node, id));
    }

    /// Half a lease without a stamp.
    pub(crate) fn guard_missed(&mut self, node: usize, id: u64) {
        let n = &self.nodes[node];
        let same = n.postgres.as_ref().is_some_and(|p| p.id == id);
        if same && n.guard.frozen {
            self.count("guard taken for dead");
            self.guard_dies(node);
        }
    }

    fn cut(&mut self, links: &[(usize, usize)]) {
        let until = self.span(100, 12_000);
        for (from, to) in links.iter().filter(|(from, to)| from != to) {
            self.cut[*from][*to] = true;
            let mend = Event::Mend(Mend::Link(*from, *to));
            self.queue.push(self.now + until, mend);
        }
    }

    /// At most one directory a run, and never the last.
    pub(crate) fn wipe(&mut self, node: usize, sidecar_lives: bool) {
        let kept = (0..self.nodes.len()).any(|other| {
            let receiver = self.nodes[other].postgres.as_ref();
            let receiver = receiver.and_then(|p| p.receiver.as_ref());
            let streams = receiver.is_some_and(|r| r.attached.is_some());
            let serves = self.line_owner.is_some_and(|(owner, _)| owner == other);
            other != node && self.is_on_line(other) && (streams || serves)
        });
        let n = &self.nodes[node];
        if !kept || !n.up || self.nodes.iter().any(|n| n.wiped) || self.opened.is_empty() {
            return;
        }
        if sidecar_lives && self.remove_data(node) {
            return;
        }
        self.die(node, true);
        let at = self.now;
        let n = &mut self.nodes[node];
        n.wiped = true;
        n.destroyed_at = Some(at);
        n.disk.data = None;
        n.disk.marker = false;
    }

    /// Whether somebody else has data of the cluster's line.
    pub(crate) fn others_keep_line(&self, node: usize) -> bool {
        (0..self.nodes.len()).any(|other| other != node && self.is_on_line(other))
    }

    /// Promoted by hand since, it is nobody's line; rewound, it is nothing without its source; and a job
    /// makes something else of it.
    pub(crate) fn is_on_line(&self, node: usize) -> bool {
        let n = &self.nodes[node];
        if n.sidecar.as_ref().is_some_and(|s| s.job.is_some()) {
            return false;
        }
        let disk = &n.disk;
        let is = |data: &DataDirectory| {
            let ends_there = self.line.get(data.wal.len() - 1) == Some(&data.chain());
            let path = self.truth.lineage.path_to(self.truth.lineage.head);
            let proves_it =
                path.is_some_and(|path| path.iter().any(|(t, _)| *t == data.timeline()));
            data.rewound.is_none() && ends_there && proves_it
        };
        !disk.marker && disk.data.as_ref().is_some_and(is)
    }

    /// The directory is removed under a running primary. False where there is none, or nobody to see it.
    pub(crate) fn remove_data(&mut self, node: usize) -> bool {
        let n = &mut self.nodes[node];
        let serves = n.postgres.as_ref().is_some_and(|p| p.epoch.is_some());
        let Some(nonce) = n.sidecar.as_ref().filter(|_| serves).map(|s| s.me.nonce) else {
            return false;
        };
        n.wiped = true;
        n.removal = true;
        let notice = self.span(1, 1000);
        self.sidecar_in(node, notice, NodeEvent::DataRemoved(nonce));
        true
    }
}
