//! Gathers what the decision is made from.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::decide::{Fresh, RaftView, Tree};
use pgha_core::lease::{Hold, Quorums};
use pgha_core::{ForkId, Mono, Phase};
use pgha_guard::{Health, clock};
use pgha_raft::{RoleView, StateView};

use super::{Agent, phase_number};

/// From the order to start PostgreSQL to the guard's word that it has begun.
const STARTED_MAX: Duration = Duration::from_secs(10);

impl Agent {
    pub(super) fn observe(&mut self, state: &StateView, role: &RoleView) {
        self.notice_changes(state);
        if role.is_caught_up() {
            let wait = state.state.settings.start_wait();
            self.parts.grants.set_caught_up(wait);
        }
        self.take_over_settings(state);
        let timing = state.state.settings.lease();
        let local = &mut self.local;
        local.shutting_down |= *self.parts.shutdown.borrow();
        local.lease = self.parts.holder.view();
        if local.lease.hold == Hold::Over {
            local.given_up = local.given_up.max(local.lease.epoch);
        }
        local.adopted = self.parts.grants.adopted();
        if local.gate_open.is_some() && !self.parts.gate.is_open() {
            local.gate_open = None;
            local.gate_opened_at = None;
            self.parts.shared.open_epoch.store(0, Ordering::Release);
        }
        let epoch = state
            .state
            .primary()
            .map_or(state.state.epoch, |record| record.epoch);
        let about = match &state.state.phase {
            // While nobody is primary, what counts is the epoch that ended.
            Phase::Revoked(revoked) => revoked.previous.as_ref().map_or(epoch, |p| p.epoch),
            Phase::Empty | Phase::Bootstrap { .. } | Phase::Primary(_) => epoch,
        };
        local.grant = self.parts.grants.view(about, timing);
        self.look_at_guard();
    }

    /// A guard that stands still cannot kill at the deadline: it goes, and PostgreSQL with it.
    fn look_at_guard(&mut self) {
        self.guard_look = Mono::NEVER;
        self.look_at_start();
        let under_deadline = matches!(self.local.tree, Tree::Primary { .. });
        let guard = self.guard.as_ref().filter(|_| under_deadline);
        match guard.map(|guard| guard.health(clock::now())) {
            None | Some(Health::Alive) => {}
            Some(Health::Doubtful { look_at }) => self.guard_look = look_at,
            Some(Health::Stalled { silent }) => {
                if !self.busy.guard {
                    let silent_ms = silent.as_millis();
                    tracing::error!(
                        silent_ms,
                        "the guard does not run: it is killed, and PostgreSQL with it"
                    );
                }
                self.bury_guard();
            }
        }
    }

    /// A guard that does not even say that it has begun cannot be told to stop what it may begin yet.
    fn look_at_start(&mut self) {
        let (Tree::Standby { since, .. } | Tree::Primary { since, .. }) = self.local.tree else {
            return;
        };
        if !self.local.starting {
            return;
        }
        let until = since + STARTED_MAX;
        if clock::now() < until {
            self.guard_look = until;
            return;
        }
        if !self.busy.guard {
            tracing::error!(
                "the guard has not answered to a start within {STARTED_MAX:?}: it is killed"
            );
        }
        self.bury_guard();
    }

    fn notice_changes(&mut self, view: &StateView) {
        let now = clock::now();
        let state = &view.state;
        if self.seen.epoch != state.epoch {
            self.seen.epoch = state.epoch;
            self.since.epoch = now;
            let proposed = self
                .seen
                .proposed
                .filter(|(expected, _)| expected.next() == state.epoch);
            self.since.proposed = proposed.map(|(_, at)| at);
        }
        let phase = phase_number(&state.phase);
        if self.seen.phase != phase {
            self.seen.phase = phase;
            self.since.phase = now;
            if let Phase::Primary(record) = &state.phase {
                self.parts.grants.know_epoch(record.epoch);
            }
        }
        let handover = state.handover.as_ref().map_or(0, |handover| handover.index);
        if self.seen.handover != handover {
            self.seen.handover = handover;
            self.since.handover = now;
        }
    }

    pub(super) fn raft_view(&self, role: &RoleView) -> RaftView {
        RaftView {
            leader: role.leader.as_ref().map(|leader| leader.name.clone()),
            leads: role.is_leader && role.quorum_fresh && role.is_caught_up(),
            quorum: role.quorum_fresh,
            quorums: Quorums::new(
                role.committed_voters
                    .iter()
                    .chain(&role.effective_voters)
                    .cloned(),
            ),
            voters: role
                .voters
                .iter()
                .filter_map(|id| Some((*id, role.members.get(id)?.name.clone())))
                .collect(),
            transfer_tried: self.seen.transfer_tried,
        }
    }
}

/// What the core must not draw itself.
pub(super) fn fresh() -> Fresh {
    Fresh {
        fork_id: ForkId(format!("{:016x}", rand::random::<u64>())),
        at: wall_clock(),
    }
}

/// For people only.
pub(crate) fn wall_clock() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}
