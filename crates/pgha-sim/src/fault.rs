//! What breaks, when, and how it is mended.

use pgha_core::decide::StopMode;
use rand::Rng;
use rand::rngs::StdRng;

use crate::event::{Event, NodeEvent};
use crate::time::{Nanos, SECOND};
use crate::world::World;

/// How a run is: drawn once.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How long things break.
    pub chaos: Nanos,
    /// Milliseconds between two faults, on average.
    pub pause_ms: u64,
    /// Messages that are lost, of a hundred.
    pub drop_percent: u32,
    /// Messages that arrive twice.
    pub duplicate_percent: u32,
    /// Messages that are late.
    pub slow_percent: u32,
    /// By how much at most.
    pub slow_ms: u64,
    /// Jobs that fail.
    pub job_fails_percent: u32,
    /// Starts of PostgreSQL that fail.
    pub start_fails_percent: u32,
    /// Checkpoints remove WAL that no slot keeps.
    pub removes_wal: bool,
    /// The kinds of fault that occur.
    pub kinds: Vec<Fault>,
}

/// A kind of fault. Where it strikes is drawn when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The sidecar dies and comes back.
    SidecarDies,
    /// The sidecar dies between two actions of a decision.
    SidecarDiesDeciding,
    /// The node loses power between two actions of a decision.
    NodeDiesDeciding,
    /// The node loses power and comes back.
    NodeDies,
    /// The sidecar stands still.
    SidecarFreezes,
    /// Everything on the node stands still.
    NodeFreezes,
    /// PostgreSQL's tree dies.
    PostgresDies,
    /// PostgreSQL answers nothing and cannot be stopped in peace.
    PostgresHangs,
    /// The guard dies; its sidecar empties the tree.
    GuardDies,
    /// Two members do not hear each other.
    PairCut,
    /// One member is not heard by another.
    OneWayCut,
    /// A member is alone.
    NodeCut,
    /// Another raft leader is elected.
    LeaderChanges,
    /// A state machine is slow.
    ApplySlow,
    /// A data directory is gone.
    DataWiped,
    /// Somebody promotes a replica by hand.
    HandPromotion,
    /// Somebody promotes a replica by hand, to the very timeline that another is being promoted to.
    HandPromotionMeanwhile,
    /// An operator asks for a switchover.
    Switchover,
    /// An operator orders a failover.
    OperatorFailover,
    /// An operator changes settings.
    Settings,
    /// The sidecar is asked to stop and started again.
    Restart,
    /// Every sidecar but the primary's dies at once; the primary is cut off, and an operator is quick.
    OthersDie,
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// The link carries messages again.
    Link(usize, usize),
    /// The sidecar goes on.
    Sidecar(usize),
    /// The node goes on.
    Node(usize),
    /// PostgreSQL answers again, if it is still that one.
    Postgres(usize, u64),
    /// The state machine is quick again.
    Apply(usize),
    /// The node has power again.
    Boot(usize),
}

const ALL: [Fault; 22] = [
    Fault::SidecarDies,
    Fault::SidecarDiesDeciding,
    Fault::NodeDiesDeciding,
    Fault::NodeDies,
    Fault::SidecarFreezes,
    Fault::NodeFreezes,
    Fault::PostgresDies,
    Fault::PostgresHangs,
    Fault::GuardDies,
    Fault::PairCut,
    Fault::OneWayCut,
    Fault::NodeCut,
    Fault::LeaderChanges,
    Fault::ApplySlow,
    Fault::DataWiped,
    Fault::HandPromotion,
    Fault::HandPromotionMeanwhile,
    Fault::Switchover,
    Fault::OperatorFailover,
    Fault::Settings,
    Fault::Restart,
    Fault::OthersDie,
];

impl Profile {
    /// Some kinds of fault at some rate.
    pub fn draw(rng: &mut StdRng) -> Self {
        let kinds: Vec<Fault> = ALL
            .into_iter()
            .filter(|_| rng.random_range(0..100) < 50)
            .collect();
        let calm = rng.random_range(0..3) == 0;
        let percent = |rng: &mut StdRng, most: u32| {
            if calm { 0 } else { rng.random_range(0..=most) }
        };
        Self {
            chaos: rng.random_range(10..50) * SECOND,
            pause_ms: rng.random_range(300..5000),
            drop_percent: percent(rng, 15),
            duplicate_percent: percent(rng, 10),
            slow_percent: percent(rng, 10),
            slow_ms: rng.random_range(30..800),
            job_fails_percent: percent(rng, 15),
            start_fails_percent: percent(rng, 10),
            removes_wal: rng.random_range(0..3) == 0,
            kinds: if kinds.is_empty() {
                vec![Fault::NodeDies]
            } else {
                kinds
            },
        }
    }
}

impl World {
    /// Draws the next fault.
    pub fn next_fault(&mut self) {
        if self.healed.is_some() {
            return;
        }
        let pause = self.span(1, 2 * self.profile.pause_ms);
        self.queue.push(self.now + pause, Event::NextFault);
        let index = self.rng.random_range(0..self.profile.kinds.len());
        let fault = self.profile.kinds[index];
        self.strike(fault);
    }

    /// Breaks something.
    pub fn strike(&mut self, fault: Fault) {
        let node = self.victim();
        let other = self.rng.random_range(0..self.nodes.len());
        self.trace(Some(node), || format!("FAULT {fault:?}"));
        self.count(&format!("fault {fault:?}"));
        match fault {
            Fault::SidecarDies => self.die(node, false),
            Fault::NodeDies => self.die(node, true),
            Fault::SidecarDiesDeciding | Fault::NodeDiesDeciding => {
                let left = self.rng.random_range(0..4);
                let whole = fault == Fault::NodeDiesDeciding;
                self.dies_in_decision = Some((node, left, whole));
            }
            Fault::SidecarFreezes => self.freeze(node, false),
            Fault::NodeFreezes => self.freeze(node, true),
            Fault::PostgresDies => self.signal(node, StopMode::Kill, "killed by somebody"),
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
            Fault::DataWiped => self.wipe(node),
            Fault::HandPromotion => self.hand_promotion(node),
            Fault::HandPromotionMeanwhile => self.by_hand_meanwhile = true,
            Fault::Switchover | Fault::OperatorFailover | Fault::Settings => self.operate(fault),
            Fault::Restart => self.ask_to_stop(node),
            Fault::OthersDie => self.others_die(),
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

    pub(crate) fn mend_in(&mut self, from_ms: u64, to_ms: u64, mend: Mend) {
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
        n.sidecar_frozen = false;
        if whole {
            n.up = false;
            n.frozen = false;
            n.deferred.clear();
            n.postgres = None;
            n.guard = crate::node::Guard::default();
            return self.mend_in(300, 9000, Mend::Boot(node));
        }
        let primary = n.postgres.as_ref().is_some_and(|p| p.epoch.is_some());
        let frozen = n.frozen;
        if primary && n.guard.alive && !frozen {
            self.signal(node, StopMode::Kill, "its sidecar died");
        }
        let after = self.span(50, longest_ms);
        self.sidecar_in(node, after, NodeEvent::SidecarStarts);
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

    fn freeze(&mut self, node: usize, whole: bool) {
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

    fn hang(&mut self, node: usize) {
        if let Some(postgres) = &mut self.nodes[node].postgres {
            postgres.hung = true;
            let id = postgres.id;
            self.mend_in(500, 30_000, Mend::Postgres(node, id));
        }
    }

    /// The sidecar, a subreaper too, empties the tree; a frozen one does so when it thaws.
    fn guard_dies(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        n.guard.alive = false;
        n.guard.kill_at = None;
        if n.sidecar_runs() {
            self.signal(node, StopMode::Kill, "its guard died");
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
    fn wipe(&mut self, node: usize) {
        let others = (0..self.nodes.len()).filter(|other| {
            let n = &self.nodes[*other];
            let receiver = n.postgres.as_ref().and_then(|p| p.receiver.as_ref());
            let streams = receiver.is_some_and(|r| r.attached.is_some());
            let serves = self.line_owner.is_some_and(|(owner, _)| owner == *other);
            *other != node && !n.disk.marker && n.disk.data.is_some() && (streams || serves)
        });
        let kept = others.count() > 0;
        let n = &self.nodes[node];
        if !kept || !n.up || self.nodes.iter().any(|n| n.wiped) || self.opened.is_empty() {
            return;
        }
        self.die(node, true);
        let n = &mut self.nodes[node];
        n.wiped = true;
        n.disk.data = None;
        n.disk.marker = false;
    }
}
