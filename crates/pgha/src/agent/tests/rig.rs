//! An agent on a store of its own, beside a process that stands in for its guard.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::decide::{Action, Local, Me, StopMode, Tree};
use pgha_core::{Epoch, Generation, MemberKind, Mono, Nonce, RaftId};
use pgha_guard::{self as guard, GuardHandle, GuardOptions, Refusal, clock};
use pgha_proxy::{Gate, ReadOnlyAdmission, Routes};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::agent::{Agent, Event, Parts};
use crate::config::{Config, ConfigArgs, Surroundings};
use crate::lease::{ElectorateWatch, Grants, HolderShared, HolderThread};
use crate::lone::Lone;
use crate::peers::Peers;
use crate::wake::Wake;
use crate::written::OwnStore;

/// Nothing in these tests takes longer than this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// The epoch that something is started for.
pub(super) const EPOCH: Epoch = Epoch(3);

/// The agent, its guard, and what both lie on.
pub(super) struct Rig {
    pub(super) agent: Agent,
    pub(super) guard: Arc<GuardHandle>,
    _dir: TempDir,
}

impl Rig {
    /// Nothing runs yet; the guard takes orders and carries none out.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut agent = Agent::new(
            parts(&dir).await,
            Local {
                tree: Tree::Empty,
                ..Local::default()
            },
        );
        let guard = Arc::new(stand_in(&dir));
        agent.guard = Some(Arc::clone(&guard));
        Self {
            agent,
            guard,
            _dir: dir,
        }
    }

    /// A start as primary is under way.
    pub(super) fn starts_primary(&mut self) {
        let since = clock::now();
        let epoch = EPOCH;
        self.agent.local.starts(Tree::Primary { epoch, since });
    }

    /// The guard has begun the start.
    pub(super) fn has_started(&mut self) {
        self.says(guard::Event::Started {
            pid: 1,
            epoch: EPOCH,
            primary: true,
        });
    }

    /// The guard refuses the order of this name.
    pub(super) fn refuses(&mut self, order: &str) {
        self.says(guard::Event::Refused {
            order: order.to_owned(),
            why: Refusal::NotRunning,
        });
    }

    /// The guard that is there says this.
    pub(super) fn says(&mut self, event: guard::Event) {
        let number = self.agent.guard_number;
        self.agent.take(Event::Guard(number, event));
    }

    /// It is decided that PostgreSQL is to stop.
    pub(super) fn stops(&mut self, mode: StopMode) {
        self.agent.execute(&Action::Stop(mode));
    }

    /// The order to stop that counts as given.
    pub(super) fn stopping(&self) -> Option<StopMode> {
        self.agent.local.stopping.map(|(mode, _)| mode)
    }

    /// What comes back from what the agent set going.
    pub(super) async fn next_event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.agent.events.1.recv());
        event.await.expect("in time").expect("the agent sends too")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.guard.kill_and_empty(clock::now() + PATIENCE);
    }
}

/// A process that holds the guard's ends open and does nothing with them.
fn stand_in(dir: &TempDir) -> GuardHandle {
    let data_dir = dir.path().join("postgres");
    let mut options = GuardOptions::new(dir.path(), &data_dir).expect("a program");
    options.program = "/bin/sh".into();
    options.leading_args = vec!["-c".into(), "exec sleep 600".into()];
    GuardHandle::spawn(&options, |_| {}).expect("started")
}

async fn parts(dir: &TempDir) -> Parts {
    let Lone { store, raft, .. } = Lone::bound(dir).await;
    let wake = Wake::default();
    let electorate = ElectorateWatch::new(&store, raft.state());
    let grants = Grants::new(store.clone(), electorate.clone(), Mono::ZERO, wake.clone());
    let grants = Arc::new(grants);
    let (gate, shared) = (Arc::new(Gate::new()), Arc::new(HolderShared::new()));
    let thread = HolderThread {
        name: "n1".into(),
        nonce: Nonce(1),
        raft_id: RaftId(1),
        store_id: store.store_id(),
        cluster_id: "c".into(),
        generation: Generation(1),
        agent_stall: PATIENCE,
        electorate,
        grants: Arc::clone(&grants),
        gate: Arc::clone(&gate),
        shared: Arc::clone(&shared),
        wake: wake.clone(),
    };
    let address = ("PGHA_ADVERTISE".into(), "127.0.0.1:1".into());
    let around = Surroundings::new([address], Some("n1".to_owned())).expect("text");
    let config = Config::load(&ConfigArgs::default(), &around).expect("the defaults");
    Parts {
        config: Arc::new(config),
        me: Me {
            name: "n1".into(),
            nonce: Nonce(1),
            kind: MemberKind::Data,
        },
        peers: Arc::new(Peers::new(
            "n1".into(),
            Arc::clone(&raft),
            Arc::new(OwnStore::new(Arc::clone(&raft), Nonce(1))),
            wake.clone(),
        )),
        raft,
        grants,
        holder: thread.start().expect("a thread"),
        shared,
        gate,
        admission: Arc::new(ReadOnlyAdmission::new()),
        routes: watch::Sender::new(Arc::new(Routes::hold("nothing is routed here"))),
        worker: None,
        wake,
        shutdown: watch::Sender::new(false).subscribe(),
    }
}
