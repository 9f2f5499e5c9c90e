//! Everything that there is, and the loop that makes it happen.

use std::collections::{BTreeMap, BTreeSet};

use pgha_core::command::Create;
use pgha_core::sync::SyncSet;
use pgha_core::{
    ClusterId, ClusterState, Command, Epoch, Generation, MemberKind, MemberName, Nonce, Secret,
    Settings, TimelineId,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::{Acknowledged, Failure};
use crate::event::{Event, Layer, NodeEvent, Queue};
use crate::fault::Fault;
use crate::mutant::Mutant;
use crate::node::{Disk, Guard, Node};
use crate::plan::{self, Planned};
use crate::profile::Profile;
use crate::raft::{Entry, Raft};
use crate::synchronous;
use crate::time::{Clock, MS, Nanos, SECOND};
use crate::told::Told;

/// More events at one moment than this mean that something never sleeps.
const EVENTS_AT_ONCE_MAX: u32 = 10_000;

/// What a run consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Members with a PostgreSQL.
    pub data: usize,
    /// Members without one.
    pub witnesses: usize,
}

/// What a run is besides its seed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The rule that is broken in it.
    pub mutant: Option<Mutant>,
    /// Says what happens.
    pub tracing: bool,
    /// The faults that strike, by their numbers in the plan; all unless given.
    pub only: Option<BTreeSet<usize>>,
    /// Nothing breaks but these kinds, often.
    pub kinds: Option<Vec<Fault>>,
}

/// A run in progress.
pub struct World {
    /// What determines everything.
    pub seed: u64,
    /// The only source of luck.
    pub rng: StdRng,
    /// Real time.
    pub now: Nanos,
    /// What is to come.
    pub queue: Queue,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// `cut[a][b]`: nothing goes from a to b.
    pub cut: Vec<Vec<bool>>,
    /// How the network and the faults of this run are.
    pub profile: Profile,
    /// What is to break, by its number.
    pub plan: Vec<Planned>,
    /// Whom commits wait for, where they do.
    pub synchronous: Option<SyncSet<MemberName>>,
    /// The replicated log.
    pub raft: Raft,
    /// The state after every committed entry.
    pub truth: ClusterState,
    /// The records of the cluster's line, by chain.
    pub line: Vec<u64>,
    /// The histories that operators chose against it, until somebody opened.
    pub ordered_lines: Vec<Vec<u64>>,
    /// Who writes it, in which epoch.
    pub line_owner: Option<(usize, Epoch)>,
    /// Acknowledged writes.
    pub acknowledged: Vec<Acknowledged>,
    /// What voters were told of it.
    pub told: Told,
    /// Epochs that opened, each with the records that its primary had then, by chain.
    pub opened: BTreeMap<Epoch, Vec<u64>>,
    /// Who opened, on which timeline, one after the other.
    pub served: Vec<(usize, TimelineId)>,
    /// No more faults.
    pub healed: Option<Nanos>,
    /// The cluster has been whole since.
    pub whole_since: Option<Nanos>,
    /// Nobody is left whose data can be proven to be the cluster's, and that is not pgha's doing.
    pub hopeless: bool,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// Who dies in the middle of the next decision that has actions.
    pub dies_in_decision: Option<DiesDeciding>,
    /// Somebody waits for the next promotion to do the same elsewhere.
    pub by_hand_meanwhile: bool,
    /// An operator has helped out of a wait that only he can end.
    pub operator_helped: u32,
    /// What a reader of a script wants to know, in order; none where luck decides what happens.
    pub chronicle: Option<Vec<String>>,
    mutant: Option<Mutant>,
    next_id: u64,
    same_instant: u32,
    tracing: bool,
}

/// Somebody who dies in the middle of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiesDeciding {
    /// Who.
    pub node: usize,
    /// The whole node, or its sidecar.
    pub whole: bool,
}

impl World {
    /// A world of `shape` in which everything follows from `seed`.
    ///
    /// Of its faults only those with the numbers in `only` strike, where it is given.
    pub fn new(seed: u64, shape: Shape, options: &Options) -> Self {
        let Options {
            mutant,
            tracing,
            only,
            kinds,
        } = options;
        // Luck of its own: what else can break changes nothing in a script.
        let seen_where = || mutant.and_then(Mutant::seen_where);
        let profile = match kinds.clone().or_else(seen_where) {
            Some(kinds) => Profile::calm_but(kinds),
            None => Profile::draw(&mut StdRng::seed_from_u64(seed ^ 0x000F_1E1D)),
        };
        let mut world = Self::unbegun(seed, shape, profile, *mutant, *tracing);
        if world.is(Mutant::ClocksRunAway) {
            for (index, node) in world.nodes.iter_mut().enumerate() {
                let rate = if index % 2 == 0 { -500_000 } else { 500_000 };
                node.clock = Clock::new(0, SECOND, rate);
            }
        }
        world.begin();
        world.plan = plan::draw(seed, &world.profile);
        world.plan_begins(only.as_ref());
        world.queue.push(world.profile.chaos, Event::Heal);
        world
    }

    fn unbegun(
        seed: u64,
        shape: Shape,
        profile: Profile,
        mutant: Option<Mutant>,
        tracing: bool,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = shape.data + shape.witnesses;
        let rho_times = profile.clock_rate_times();
        let nodes: Vec<Node> = (0..count)
            .map(|index| node(index, index >= shape.data, rho_times, &mut rng))
            .collect();
        let data = nodes.iter().take(shape.data).map(|n| n.name.clone());
        let synchronous = synchronous::drawn(seed, shape, data.collect());
        let synchronous = synchronous.filter(|_| profile.synchronous);
        Self {
            seed,
            rng,
            now: 0,
            queue: Queue::default(),
            nodes,
            cut: vec![vec![false; count]; count],
            profile,
            plan: Vec::new(),
            synchronous,
            raft: Raft::default(),
            truth: ClusterState::default(),
            line: Vec::new(),
            ordered_lines: Vec::new(),
            line_owner: None,
            acknowledged: Vec::new(),
            told: Told::default(),
            opened: BTreeMap::new(),
            served: Vec::new(),
            healed: None,
            whole_since: None,
            hopeless: false,
            failure: None,
            counts: BTreeMap::new(),
            dies_in_decision: None,
            by_hand_meanwhile: false,
            operator_helped: 0,
            chronicle: None,
            mutant,
            next_id: 1,
            same_instant: 0,
            tracing,
        }
    }

    /// A world in which only that breaks which somebody orders.
    pub fn scripted(seed: u64, shape: Shape, tracing: bool) -> Self {
        let mut world = Self::unbegun(seed, shape, Profile::calm(), None, tracing);
        world.chronicle = Some(Vec::new());
        world.begin();
        world
    }

    fn begin(&mut self) {
        let create = Command::Create(self.create());
        let _ = self.truth.apply(2, &create);
        self.raft.generation = self.truth.generation;
        self.form();
        self.raft.log.push(Entry::Command(create));
        for node in 0..self.nodes.len() {
            // Formation is not part of the model: everybody has stored the first entries.
            self.nodes[node].disk.stored = self.raft.log.len();
            let at = self.span(0, 200);
            self.sidecar_in(node, at, NodeEvent::SidecarStarts);
        }
        self.queue.push(20 * MS, Event::RaftTick);
        self.queue.push(50 * MS, Event::Clients);
    }

    fn create(&self) -> Create {
        Create {
            cluster: "main".to_owned(),
            cluster_id: ClusterId::from("c1"),
            generation: Generation(1),
            members: self.listed(),
            settings: Settings {
                max_lag_on_failover: self.profile.max_lag,
                ..Settings::default()
            },
            replication_secret: Secret::default(),
        }
    }

    /// Takes the next event. False when the run is over.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else {
            return false;
        };
        self.same_instant = if at == self.now {
            self.same_instant + 1
        } else {
            0
        };
        self.now = at;
        if self.same_instant > EVENTS_AT_ONCE_MAX {
            self.spins(&event);
        }
        self.dispatch(event);
        self.check_step();
        self.failure.is_none() && !self.is_over()
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Node { node, layer, what } => self.on_node(node, layer, what),
            Event::RaftTick => self.raft_tick(),
            Event::Commit(proposal) => self.commit(proposal),
            Event::Clients => self.clients(),
            Event::Acknowledge(session) => self.acknowledge(session),
            Event::Fault(fault) => self.strike(fault),
            Event::Planned(number) => self.planned(number),
            Event::Mend(mend) => self.mend(mend),
            Event::Heal => self.heal(),
            Event::Recover(node, tries) => self.recovery_ordered(node, tries),
        }
    }

    fn on_node(&mut self, node: usize, layer: Layer, what: NodeEvent) {
        let n = &mut self.nodes[node];
        if !n.up {
            return;
        }
        if n.frozen || (layer == Layer::Sidecar && n.sidecar_frozen) {
            n.deferred.push(Event::Node { node, layer, what });
            return;
        }
        match what {
            NodeEvent::PostgresReady(id) => self.postgres_ready(node, id),
            NodeEvent::PostgresEnds(id, mode, why) => self.postgres_ends(node, id, mode, &why),
            NodeEvent::PostgresPromotes(id, job) => self.postgres_promotes(node, id, job),
            NodeEvent::Stream(id) => self.stream(node, id),
            NodeEvent::PromotedByHand => self.promote_by_hand(node),
            NodeEvent::GuardWakes(id) => self.guard_wakes(node, id),
            NodeEvent::SidecarStarts => self.sidecar_starts(node),
            other => self.on_sidecar(node, other),
        }
    }

    fn on_sidecar(&mut self, node: usize, what: NodeEvent) {
        let Some(sidecar) = &self.nodes[node].sidecar else {
            return;
        };
        let me = sidecar.me.nonce;
        match what {
            NodeEvent::Receive(from, generation, message) => {
                self.called(node, from, generation, *message);
            }
            NodeEvent::GenerationTold(nonce, newer) if nonce == me => {
                self.heard_generation(node, newer);
            }
            NodeEvent::GuardMissed(id) => self.guard_missed(node, id),
            NodeEvent::LeftoversGone(nonce) if nonce == me => self.leftovers_gone(node),
            NodeEvent::Wake(nonce, wake) if nonce == me && sidecar.wake == wake => {
                self.decide_now(node);
            }
            NodeEvent::Decide(nonce) if nonce == me => self.decide_now(node),
            NodeEvent::Renew(nonce, epoch) if nonce == me => self.renew(node, epoch),
            NodeEvent::Adopted(nonce, epoch) if nonce == me => self.adopted(node, epoch),
            NodeEvent::Kept(nonce, told) if nonce == me => self.kept(node, told),
            NodeEvent::Tell(nonce) if nonce == me => self.tell(node),
            NodeEvent::Probe(nonce) if nonce == me => self.probe(node),
            NodeEvent::ProbeOnce(nonce) if nonce == me => self.probe_now(node),
            NodeEvent::Apply(nonce) if nonce == me => self.apply(node),
            NodeEvent::Job(nonce, job, step) if nonce == me => self.job_step(node, job, step),
            NodeEvent::Proposed(nonce, number) if nonce == me => self.proposed(node, number),
            NodeEvent::Started(nonce) if nonce == me => self.started(node),
            NodeEvent::TreeEmpty(nonce, epoch, cause) if nonce == me => {
                self.tree_empty(node, epoch, cause);
            }
            NodeEvent::Examined(nonce) if nonce == me => self.examined(node),
            NodeEvent::DataRemoved(nonce) if nonce == me => self.data_removed(node),
            NodeEvent::Refused(nonce, by) if nonce == me => self.refused(node, by),
            NodeEvent::Leaves(nonce, tries) if nonce == me => self.leaves(node, tries),
            // Of an earlier process of this node, or overtaken.
            _ => {}
        }
    }

    /// Whether this rule is broken in this run.
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A number that was never given before.
    pub fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Between so many and so many milliseconds.
    pub fn span(&mut self, from_ms: u64, to_ms: u64) -> Nanos {
        self.rng.random_range(from_ms * MS..=to_ms * MS)
    }

    /// True so many times in a hundred; never once everything is mended.
    pub fn fault_chance(&mut self, percent: u32) -> bool {
        self.healed.is_none() && self.chronicle.is_none() && self.rng.random_range(0..100) < percent
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Lets the sidecar of `node` do something later.
    pub fn sidecar_in(&mut self, node: usize, after: Nanos, what: NodeEvent) {
        let layer = Layer::Sidecar;
        let at = self.now.saturating_add(after);
        self.queue.push(at, Event::Node { node, layer, what });
    }

    /// Lets the guard or PostgreSQL of `node` do something later.
    pub fn tree_in(&mut self, node: usize, after: Nanos, what: NodeEvent) {
        let layer = Layer::Tree;
        let at = self.now.saturating_add(after);
        self.queue.push(at, Event::Node { node, layer, what });
    }

    /// Counts something.
    pub fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(what.to_owned(), 1);
            }
        }
    }

    /// How often another member has opened than before, or the same one on another timeline.
    pub fn changes_of_primary(&self) -> u64 {
        let pairs = self.served.iter().zip(self.served.iter().skip(1));
        pairs.filter(|(before, after)| before != after).count() as u64
    }

    /// Says what happens, where somebody reads it.
    pub fn trace(&self, node: Option<usize>, text: impl FnOnce() -> String) {
        if self.tracing {
            let seconds = self.now / SECOND;
            let micros = self.now % SECOND / 1000;
            let who = node.map_or("--", |node| self.nodes[node].name.as_str());
            println!("{seconds:4}.{micros:06} {who:3} {}", text());
        }
    }

    /// The nonce of the sidecar that runs on `node`.
    pub fn nonce(&self, node: usize) -> Option<Nonce> {
        Some(self.nodes[node].sidecar.as_ref()?.me.nonce)
    }

    /// Whether `a` and `b` hear each other.
    pub fn linked(&self, a: usize, b: usize) -> bool {
        a == b || (!self.cut[a][b] && !self.cut[b][a])
    }

    /// The node with this name.
    pub fn index_of(&self, name: &MemberName) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }
}

fn node(index: usize, witness: bool, rho_times: i64, rng: &mut StdRng) -> Node {
    let reading = rng.random_range(0..1000 * SECOND);
    let rate = rho_times * rng.random_range(-1000..=1000);
    Node {
        name: format!("n{}", index + 1).into(),
        kind: if witness {
            MemberKind::Witness
        } else {
            MemberKind::Data
        },
        clock: Clock::new(0, reading, rate),
        up: true,
        frozen: false,
        sidecar_frozen: false,
        deferred: Vec::new(),
        disk: Disk {
            generation: Generation(1),
            store: format!("s{index}"),
            ..Disk::default()
        },
        postgres: None,
        guard: Guard::default(),
        sidecar: None,
        straggler: None,
        wiped: false,
        destroyed_at: None,
        promoted_by_hand: false,
        removal: false,
        end_held: false,
        thawed: 0,
        apply_slow: false,
        disk_stalls: false,
        lost: false,
    }
}
