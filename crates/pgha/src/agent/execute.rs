//! Carries out what was decided. Every order is idempotent; what takes time goes on beside the loop
//! and comes back as an event.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::decide::{Action, Data, JobKind, StopMode, Tree, Upstream};
use pgha_core::gate::GateSetting;
use pgha_core::lease::Hold;
use pgha_core::{Command, Epoch, MemberName};
use pgha_guard::{
    self as guard, GuardHandle, GuardOptions, Order, PostmasterSignal, ReleaseRoute, StartRole,
    clock,
};
use pgha_raft::StateView;
use tokio::sync::mpsc;

use super::{Agent, Event};
use crate::release::{self, Releasing};
use crate::server::{JobContext, Prober, StartAs, run_job};

const PROPOSE_MAX: Duration = Duration::from_secs(5);
const ROLE_TRIES: u32 = 10;
const ROLE_PAUSE: Duration = Duration::from_millis(500);
const TRANSFER_MAX: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn execute(&mut self, action: &Action) {
        match action {
            Action::Adopt(epoch) => self.adopt(*epoch),
            Action::HoldLease(epoch) => {
                let timing = self.state.borrow().state.settings.lease();
                let hash = self.secrets.draw(*epoch);
                self.parts.holder.hold(*epoch, timing, hash);
            }
            Action::DropLease => self.parts.holder.drop_lease(),
            Action::OpenGate(epoch) => self.open_gate(*epoch),
            Action::DrainGate(epoch) => {
                self.parts.gate.drain_idle(*epoch);
            }
            Action::CloseGate => self.close_gate(),
            Action::StartStandby { pinned } => self.start(StartAs::Standby {
                pinned: *pinned,
                upstream: None,
            }),
            Action::StartAttached(upstream) => self.start(StartAs::Standby {
                pinned: None,
                upstream: Some(upstream.clone()),
            }),
            Action::StartPrimary(_) => self.start(StartAs::Primary),
            Action::Assume(epoch) => self.assume(*epoch),
            Action::Stop(mode) => self.stop(*mode),
            Action::Follow(upstream) => self.follow(upstream),
            Action::Begin(kind) => self.begin(kind.clone()),
            Action::CancelJob => self.cancel_job(),
            Action::KeepSlots(names) => self.keep_slots(names),
            Action::Release { epoch, why } => self.release(*epoch, why),
            Action::Propose(command) => self.propose(command),
            Action::TransferLeadership(name) => self.transfer_leadership(name),
        }
    }

    fn adopt(&mut self, epoch: Epoch) {
        if self.busy.adopting.is_some_and(|busy| busy >= epoch) {
            return;
        }
        self.busy.adopting = Some(epoch);
        let grants = Arc::clone(&self.parts.grants);
        let events = self.events.0.clone();
        tokio::spawn(async move {
            if let Err(error) = grants.adopt(epoch).await {
                tracing::error!(%error, %epoch, "an epoch was not adopted");
            }
            let _ = events.send(Event::Adopted(epoch));
        });
    }

    fn open_gate(&mut self, epoch: Epoch) {
        let view = self.parts.holder.view();
        let Hold::Held(deadlines) = view.hold else {
            return;
        };
        if view.epoch != epoch {
            return;
        }
        let setting = GateSetting {
            epoch,
            hold_at: deadlines.hold,
            close_at: deadlines.close,
        };
        match self.parts.gate.set(setting) {
            Ok(()) => {
                tracing::info!(%epoch, "the gate is open");
                self.parts
                    .shared
                    .open_epoch
                    .store(epoch.0, Ordering::Release);
                self.local.gate_open = Some(epoch);
                self.local.gate_opened_at = Some(clock::now());
                self.parts.wake.wake();
                self.mark_data();
                self.ensure_roles();
            }
            Err(error) => {
                tracing::error!(%epoch, %error, "the gate does not open: the epoch is given up");
                self.parts.holder.drop_lease();
            }
        }
    }

    fn mark_data(&self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        let site = Arc::clone(worker.site());
        let state = self.state.borrow().clone();
        tokio::task::spawn_blocking(move || site.mark(&state.state));
    }

    /// The replication role as it should be, on every new primary: what made the data directory may
    /// have been interrupted before it was made.
    fn ensure_roles(&self) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        let state = self.state.borrow().clone();
        tokio::spawn(async move {
            for _ in 0..ROLE_TRIES {
                match worker.desk().await.ensure_roles(&state.state).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the replication role is not made yet"),
                }
                tokio::time::sleep(ROLE_PAUSE).await;
            }
        });
    }

    fn close_gate(&mut self) {
        self.parts.shared.open_epoch.store(0, Ordering::Release);
        self.parts.gate.close();
        if self.local.gate_open.take().is_some() {
            tracing::info!("the gate is closed");
        }
        self.local.gate_opened_at = None;
    }

    fn start(&mut self, role: StartAs) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.busy.starting || self.busy.guard || !matches!(self.local.tree, Tree::Empty) {
            return;
        }
        let Some(guard) = self.guard() else { return };
        let state = self.state.borrow().clone();
        let now = clock::now();
        let start_role = match &role {
            StartAs::Standby { pinned, upstream } => {
                self.local.starts(Tree::Standby {
                    since: now,
                    pinned: *pinned,
                });
                if let Some(upstream) = upstream {
                    self.local.follows(upstream.clone(), now);
                }
                StartRole::Standby {
                    epoch: self.local.adopted,
                }
            }
            StartAs::Primary => {
                let epoch = self.local.lease.epoch;
                let Some(secret) = self.secrets.hand_over(epoch) else {
                    return;
                };
                self.local.starts(Tree::Primary { epoch, since: now });
                StartRole::Primary {
                    epoch,
                    secret,
                    route: self.route(&state),
                }
            }
        };
        self.busy.starting = true;
        self.watch_postgres();
        let events = self.events.0.clone();
        tokio::spawn(async move {
            let planned = worker.plan_start(&role, start_role.clone()).await;
            let ordered =
                planned.and_then(|plan| Ok(guard.send(&Order::Start(plan.order(start_role)))?));
            if let Err(error) = ordered {
                let _ = events.send(Event::StartFailed(format!("{error:#}")));
            }
        });
    }

    fn watch_postgres(&mut self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        let (reports, mut inbox) = mpsc::unbounded_channel();
        let events = self.events.0.clone();
        let interval = self.state.borrow().state.settings.lease().renew_interval();
        self.prober = Some(Prober::start(
            worker.site(),
            Arc::clone(&self.parts.shared),
            interval,
            reports,
        ));
        tokio::spawn(async move {
            while let Some(report) = inbox.recv().await {
                if events.send(Event::Probe(report)).is_err() {
                    return;
                }
            }
        });
    }

    /// The guard, started where there is none.
    fn guard(&mut self) -> Option<Arc<GuardHandle>> {
        if self.guard.is_none() {
            let site = Arc::clone(self.parts.worker.as_ref()?.site());
            let events = self.events.0.clone();
            let on_event = move |event: guard::Event| {
                let _ = events.send(Event::Guard(event));
            };
            let spawned = GuardOptions::new(&site.layout.run_dir, &site.layout.data_dir)
                .map_err(anyhow::Error::from)
                .and_then(|options| Ok(GuardHandle::spawn(&options, on_event)?));
            match spawned {
                Ok(guard) => {
                    let lease = self.state.borrow().state.settings.lease().lease();
                    guard.board().set_lease(lease);
                    let mut board = self
                        .parts
                        .shared
                        .board
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    *board = Some(guard.board().clone());
                    drop(board);
                    self.set_deadline(&guard);
                    self.guard = Some(Arc::new(guard));
                }
                Err(error) => {
                    tracing::error!(%error, "the guard cannot be started");
                    self.count_start_failure(format!("{error:#}"));
                    return None;
                }
            }
        }
        self.guard.clone()
    }

    /// A new board learns the deadline at once, not at the next renewal.
    fn set_deadline(&self, guard: &GuardHandle) {
        let view = self.parts.holder.view();
        if let Hold::Held(deadlines) = view.hold {
            guard.board().set_deadline(view.epoch, deadlines.kill);
        }
    }

    fn route(&self, view: &StateView) -> ReleaseRoute {
        ReleaseRoute {
            cluster_id: view.state.cluster_id.clone(),
            generation: view.state.generation,
            holder: self.site_name().clone(),
            peers: view
                .state
                .members
                .iter()
                .map(|(name, member)| guard::Peer {
                    name: name.clone(),
                    address: member.addresses.raft.clone(),
                })
                .collect(),
        }
    }

    /// A second request to end: no more patience.
    pub(super) fn hurry(&mut self) {
        if !matches!(self.local.tree, Tree::Empty | Tree::Unknown) {
            self.stop(StopMode::Kill);
        }
    }

    pub(super) fn reroute_guard(&self, view: &StateView) {
        if let (Some(guard), Tree::Primary { epoch, .. }) = (&self.guard, &self.local.tree) {
            self.order(
                guard,
                &Order::Route {
                    epoch: *epoch,
                    route: self.route(view),
                },
            );
        }
    }

    fn assume(&mut self, epoch: Epoch) {
        if self.busy.assuming == Some(epoch) || self.busy.starting {
            return;
        }
        let Some(guard) = self.guard.clone() else {
            return;
        };
        let Some(secret) = self.secrets.hand_over(epoch) else {
            return;
        };
        self.set_deadline(&guard);
        let route = self.route(&self.state.borrow().clone());
        self.busy.assuming = Some(epoch);
        self.order(
            &guard,
            &Order::Assume {
                epoch,
                secret,
                route,
            },
        );
    }

    fn stop(&mut self, mode: StopMode) {
        let Some(guard) = self.guard.clone() else {
            return;
        };
        if !self.local.stops(mode, clock::now()) {
            return;
        }
        tracing::info!(?mode, "PostgreSQL is stopped");
        if self
            .job_kind()
            .is_some_and(|kind| !matches!(kind, JobKind::Checkpoint { .. }))
        {
            self.cancel_job();
        }
        let epoch = self.local.adopted;
        let order = match mode {
            StopMode::Fast => Order::Signal {
                epoch,
                signal: PostmasterSignal::Fast,
            },
            StopMode::Immediate => Order::Signal {
                epoch,
                signal: PostmasterSignal::Immediate,
            },
            StopMode::Kill => Order::Empty { epoch },
        };
        match self.local.gate_open {
            Some(open) if mode == StopMode::Fast => self.stop_when_drained(open, guard, order),
            Some(_) | None => self.order(&guard, &order),
        }
    }

    pub(super) fn order(&self, guard: &GuardHandle, order: &Order) {
        if let Err(error) = guard.send(order) {
            // GuardGone follows, and with it the killing of what is left.
            tracing::error!(%error, "an order did not reach the guard");
        }
    }

    fn follow(&mut self, upstream: &Upstream) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.local.upstream.as_ref() == Some(upstream) || self.local.job.is_some() {
            return;
        }
        tracing::info!(node = %upstream.node, epoch = %upstream.epoch, slot = upstream.slot, "following");
        self.local.follows(upstream.clone(), clock::now());
        let (events, upstream) = (self.events.0.clone(), upstream.clone());
        let state = self.state.borrow().clone();
        tokio::spawn(async move {
            let mut desk = worker.desk().await;
            if let Err(error) = desk.follow(&upstream).await {
                let _ = events.send(Event::FollowFailed(upstream, format!("{error:#}")));
            }
            drop(desk);
            worker.site().mark(&state.state);
        });
        self.look_again();
    }

    fn begin(&mut self, kind: JobKind) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.local.job.is_some() || self.busy.starting {
            return;
        }
        let quiet = matches!(kind, JobKind::Settle | JobKind::Checkpoint { .. });
        if !quiet {
            tracing::info!(?kind, "begun");
        }
        let (progress, mut told) = mpsc::unbounded_channel();
        let context = JobContext {
            worker,
            state: self.state.borrow().state.clone(),
            settled: self.local.settled.clone(),
            superuser_password: self.parts.config.postgres.superuser_password.clone(),
            password_path: self.parts.config.data_dir.join("superuser.password"),
            progress,
        };
        let events = self.events.0.clone();
        let progress_events = events.clone();
        tokio::spawn(async move {
            while let Some(text) = told.recv().await {
                let _ = progress_events.send(Event::Progress(text));
            }
        });
        let task_kind = kind.clone();
        self.job = Some(tokio::spawn(async move {
            let outcome = run_job(task_kind.clone(), context).await;
            let _ = events.send(Event::Job(task_kind, outcome));
        }));
        self.local.begins(kind, clock::now());
    }

    fn cancel_job(&mut self) {
        if let Some(job) = self.job.take() {
            job.abort();
            let kind = self.local.job.take().map(|job| job.kind);
            tracing::info!(?kind, "cancelled");
            self.inspect();
        }
    }

    fn keep_slots(&mut self, names: &[String]) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.busy.slots.is_some() || self.local.job.is_some() {
            return;
        }
        self.busy.slots = Some(names.to_vec());
        let (events, names) = (self.events.0.clone(), names.to_vec());
        tokio::spawn(async move {
            let outcome = worker.desk().await.keep_slots(&names).await;
            let outcome = outcome.map_err(|error| error.to_string());
            let _ = events.send(Event::Slots(outcome));
        });
    }

    fn release(&mut self, epoch: Epoch, why: &str) {
        if self.busy.released >= epoch {
            self.local.releasable = None;
            return;
        }
        let Some((secret, report)) = self.secrets.release(epoch) else {
            self.local.releasable = None;
            return;
        };
        self.busy.released = epoch;
        self.local.releases(epoch);
        let state = self.state.borrow().clone();
        let shutdown_lsn = match &self.local.data {
            Data::Cluster(cluster) => cluster.shutdown_lsn,
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) => None,
        };
        let releasing = Releasing {
            shutdown_lsn,
            cluster_id: state.state.cluster_id.clone(),
            epoch,
            secret,
            holder: self.site_name().clone(),
            why: why.to_owned(),
            seen_to_fenced_us: report.as_ref().map_or(0, |report| report.seen_to_fenced_us),
            seen_to_empty_us: report.as_ref().map_or(0, |report| report.seen_to_empty_us),
        };
        self.parts
            .grants
            .release(epoch, releasing.secret.bytes(), releasing.note());
        let addresses = state
            .state
            .members
            .iter()
            .filter(|(name, _)| *name != self.site_name())
            .map(|(_, member)| member.addresses.raft.clone())
            .collect();
        self.releases
            .push(tokio::spawn(release::send(releasing, addresses)));
    }

    fn propose(&mut self, command: &Command) {
        if std::mem::replace(&mut self.busy.proposing, true) {
            return;
        }
        if let Command::Revoke(revoke) = command {
            self.seen.proposed = Some((revoke.expected, clock::now()));
        }
        let (raft, events, command) = (
            Arc::clone(&self.parts.raft),
            self.events.0.clone(),
            command.clone(),
        );
        tokio::spawn(async move {
            tracing::debug!(?command, "proposed");
            match raft.propose(command, PROPOSE_MAX).await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => tracing::info!(%refusal, "a proposal was refused"),
                Err(error) => tracing::warn!(%error, "a proposal has no outcome"),
            }
            let _ = events.send(Event::Proposed);
        });
    }

    fn transfer_leadership(&mut self, name: &MemberName) {
        self.seen.transfer_tried = Some(clock::now());
        let role = self.role.borrow().clone();
        let target = role
            .members
            .iter()
            .find(|(_, peer)| peer.name == *name)
            .map(|(id, _)| *id);
        let Some(target) = target else { return };
        let (raft, name) = (Arc::clone(&self.parts.raft), name.clone());
        tokio::spawn(async move {
            match raft.transfer_leadership(target, TRANSFER_MAX).await {
                Ok(()) => tracing::info!(to = %name, "the Raft leadership was handed over"),
                Err(error) => tracing::info!(to = %name, %error, "the Raft leadership stays"),
            }
        });
    }
}
