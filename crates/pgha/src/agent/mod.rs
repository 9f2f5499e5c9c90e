//! The one loop: gather, decide, execute in order, sleep until the decision's wake time or an
//! event. Nothing beside [`pgha_core::decide::decide`] decides.

mod events;
mod execute;
mod observe;
mod publish;
mod routes;
mod say;
mod secrets;
mod take_over;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgha_core::decide::{Decision, JobKind, Local, Me, Since, Why, decide};
use pgha_core::lineage::Position;
use pgha_core::report::MemberReport;
use pgha_core::{Epoch, MemberName, Mono, Phase};
use pgha_guard::{GuardHandle, clock};
use pgha_proxy::{Gate, ReadOnlyAdmission, Routes};
use pgha_raft::{RaftNode, RoleView, StateView};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::lease::{Grants, HolderHandle, HolderShared};
use crate::peers::Peers;
use crate::server::{Ended, Prober, Worker};
use crate::wake::Wake;

pub(crate) use events::Event;
use execute::RunningJob;
pub(crate) use observe::wall_clock;
use secrets::Secrets;

/// A release that is on its way when the process ends is waited for this long.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// What the agent says about this member to everybody who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// The report; absent before the cluster knows this member.
    pub(crate) report: Option<MemberReport>,
    /// The same in words.
    pub(crate) why: Why,
    /// What the data was found to hold; absent where nobody had to look.
    pub(crate) position: Option<Position>,
    /// Counts changes of the report.
    pub(crate) sequence: u64,
    /// Whether the agent has stopped everything and the process may end.
    pub(crate) done: bool,
}

/// Everything the agent works with.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) me: Me,
    pub(crate) raft: Arc<RaftNode>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) holder: HolderHandle,
    pub(crate) shared: Arc<HolderShared>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<ReadOnlyAdmission>,
    pub(crate) routes: watch::Sender<Arc<Routes>>,
    pub(crate) peers: Arc<Peers>,
    /// None on a witness.
    pub(crate) worker: Option<Worker>,
    pub(crate) wake: Wake,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// The agent.
pub(crate) struct Agent {
    parts: Parts,
    state: watch::Receiver<Arc<StateView>>,
    role: watch::Receiver<RoleView>,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    publish: watch::Sender<Arc<Published>>,
    local: Local,
    since: Since,
    seen: Seen,
    guard: Option<Arc<GuardHandle>>,
    /// Tells its events from those of a guard before it.
    guard_number: u64,
    /// When the guard is to be looked at again.
    guard_look: Mono,
    prober: Option<Prober>,
    job: Option<RunningJob>,
    secrets: Secrets,
    busy: Busy,
    restart_pending: Vec<String>,
    /// Whether a note that the data was rewound is to be taken away.
    noted_rewind: Arc<AtomicBool>,
    releases: Vec<JoinHandle<bool>>,
    /// The primary that ended last, until its data is replaced.
    ended: Option<Ended>,
    /// This process has run PostgreSQL in the data directory.
    ran: bool,
    /// When data that cannot be used is looked at again.
    data_look: Mono,
}

/// What was applied when the loop looked last.
#[derive(Default)]
struct Seen {
    epoch: Epoch,
    phase: u64,
    handover: u64,
    proposed: Option<(Epoch, Mono)>,
    transfer_tried: Option<Mono>,
    applied: u64,
    members: u64,
    parameters: u64,
    why: Option<Why>,
}

/// Orders on their way, so that repeating one while it is carried out changes nothing.
#[derive(Default)]
struct Busy {
    proposing: bool,
    slots: bool,
    assuming: Option<Epoch>,
    guard: bool,
    hurried: bool,
    adopting: Option<Epoch>,
    released: Epoch,
}

impl Agent {
    /// An agent whose tree is proven empty.
    pub(crate) fn new(parts: Parts, local: Local) -> Self {
        let mut state = parts.raft.state();
        state.mark_changed();
        Self {
            role: parts.raft.role(),
            state,
            parts,
            events: mpsc::unbounded_channel(),
            publish: watch::Sender::new(Arc::default()),
            local,
            since: Since::default(),
            seen: Seen::default(),
            guard: None,
            guard_number: 0,
            guard_look: Mono::NEVER,
            prober: None,
            job: None,
            secrets: Secrets::default(),
            busy: Busy::default(),
            restart_pending: Vec::new(),
            noted_rewind: Arc::default(),
            releases: Vec::new(),
            ended: None,
            ran: false,
            data_look: Mono::ZERO,
        }
    }

    /// Follows what the agent says.
    pub(crate) fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.publish.subscribe()
    }

    /// Where others put what happened.
    pub(crate) fn events(&self) -> mpsc::UnboundedSender<Event> {
        self.events.0.clone()
    }

    /// Runs until the process may end.
    pub(crate) async fn run(mut self) {
        self.inspect();
        loop {
            let now = clock::now();
            self.parts
                .shared
                .agent_stamp
                .store(now.as_nanos(), Ordering::Release);
            while let Ok(event) = self.events.1.try_recv() {
                self.take(event);
            }
            self.inspect_unusable(now);
            let decision = self.decide();
            self.say(&decision);
            for action in &decision.actions {
                tracing::trace!(?action, "ordered");
                self.execute(action);
            }
            if self.is_done() {
                let sent = futures_util::future::join_all(self.releases.drain(..));
                let _ = tokio::time::timeout(RELEASE_MAX, sent).await;
                if let Some(guard) = &self.guard {
                    let _ = guard.send(&pgha_guard::Order::Quit);
                }
                self.publish
                    .send_modify(|published| Arc::make_mut(published).done = true);
                return;
            }
            self.sleep(decision.wake_at.min(self.guard_look)).await;
        }
    }

    fn decide(&mut self) -> Decision {
        // The role first: the state is at least as new as what the role says was applied.
        let role = self.role.borrow_and_update().clone();
        let state = self.state.borrow_and_update().clone();
        self.observe(&state, &role);
        let raft = self.raft_view(&role);
        let peers = self.parts.peers.heard();
        let fresh = observe::fresh();
        let input = pgha_core::decide::Input {
            me: &self.parts.me,
            now: clock::now(),
            state: &state.state,
            since: self.since,
            raft: &raft,
            local: &self.local,
            peers: &peers,
            fresh: &fresh,
        };
        let mut decision = decide(&input);
        self.name_directory(&mut decision.why);
        let report = pgha_core::decide::report(&input, &decision.why);
        self.publish(report, &decision, &state, &peers);
        decision
    }

    /// Only this side knows where the data is that an operator has to look at.
    fn name_directory(&self, why: &mut Why) {
        use pgha_core::Reason::{DataForeign, DataUnreadable, MajorVersionDiffers};
        let (Some(worker), Some(DataForeign | DataUnreadable | MajorVersionDiffers)) =
            (&self.parts.worker, why.reason)
        else {
            return;
        };
        let path = worker.site().layout.data_dir.display();
        let found = why.detail.take();
        let found = found.map_or_else(String::new, |found| format!(": {found}"));
        why.detail = Some(format!("postgres.data_dir = {path}{found}"));
    }

    async fn sleep(&mut self, until: Mono) {
        let rest = until.since(clock::now()).max(Duration::from_micros(500));
        tokio::select! {
            () = self.parts.wake.woken() => {}
            Ok(()) = self.state.changed() => {}
            Ok(()) = self.role.changed() => {}
            Some(event) = self.events.1.recv() => self.take(event),
            () = tokio::time::sleep(rest) => {}
            changed = self.parts.shutdown.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    fn site_name(&self) -> &MemberName {
        &self.parts.me.name
    }

    fn is_done(&self) -> bool {
        use pgha_core::decide::Tree;
        self.local.shutting_down
            && self.local.releasable.is_none()
            && matches!(self.local.tree, Tree::Empty)
            && self.job.is_none()
    }

    fn job_kind(&self) -> Option<&JobKind> {
        self.local.job.as_ref().map(|job| &job.kind)
    }
}

/// Tells phases apart that need a clock of their own.
fn phase_number(phase: &Phase) -> u64 {
    match phase {
        Phase::Empty => 0,
        Phase::Bootstrap { .. } => 1,
        Phase::Revoked(revoked) => revoked.index << 2 | 2,
        Phase::Primary(record) => record.index << 2 | 3,
    }
}
