//! The task that decides when this member stands for election.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use pgha_core::Mono;
use pgha_proto::{log_id_text, v1};
use rand::Rng;
use tokio::time::{sleep, timeout};

use super::ear::Presence;
use super::patience::{Next, Patience};
use super::prevote;
use super::pulse::Pulse;
use crate::clock;
use crate::core::{Core, term};
use crate::network::codec::log_id_in;
use crate::types::log_id_out;

/// For an election to show its result before the next one.
const ELECTION_DEADLINE: Duration = Duration::from_millis(400);
/// A member that has nothing to wait for looks up as often; changes wake it before.
const IDLE: Duration = Duration::from_secs(3600);

pub(crate) struct Supervisor {
    core: Arc<Core>,
    patience: Patience,
    /// The highest term seen in refusals: openraft learns it only from a vote.
    term_seen: u64,
    /// This member was a voter that did not lead when it last looked.
    waits: bool,
    pulse: Pulse,
}

impl Supervisor {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let patience = Patience::new(draw(&core));
        Self {
            core,
            patience,
            term_seen: 0,
            waits: false,
            pulse: Pulse::default(),
        }
    }

    /// Runs until it is dropped or openraft has ended.
    pub(crate) async fn run(mut self) {
        let mut roles = self.core.raft.server_metrics();
        let mut ear = self.core.ear.changes();
        loop {
            let asleep_from = clock::now();
            let until = self.step(asleep_from).await;
            let asleep_from = asleep_from.max(clock::now());
            let planned = until.since(asleep_from);
            tokio::select! {
                () = sleep(planned) => {}
                changed = roles.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                _ = ear.changed() => {}
            }
            self.notice_pause(asleep_from + planned);
        }
    }

    /// If this process did not run when it should have, all that it did not hear meanwhile may be
    /// waiting in its sockets.
    fn notice_pause(&mut self, planned: Mono) {
        let now = clock::now();
        if now.since(planned) > self.core.options.lease / 2 {
            tracing::warn!(late = ?now.since(planned), "this process was paused; waiting for the leader anew");
            self.core.ear.resumed(now);
            self.patience = Patience::new(draw(&self.core));
        }
    }

    /// Does what is due and tells until when there is nothing to do.
    async fn step(&mut self, now: Mono) -> Mono {
        let server = self.core.server();
        let me = self.core.my_id();
        let membership = server.membership_config.membership();
        let is_voter = membership.voter_ids().any(|id| id == me);
        if server.state == ServerState::Leader {
            self.waits = false;
            return self.pulse.lead(&self.core, now);
        }
        self.pulse.rest(&self.core);
        if !is_voter {
            self.waits = false;
            return now + IDLE;
        }
        if !self.waits {
            // New in this place: the founder of a cluster is standing already, a deposed leader has
            // just heard of another one.
            self.waits = true;
            self.patience.not_before = now + draw(&self.core);
        }
        if let Some(rest) = self.core.withholds_votes(now) {
            return now + rest;
        }
        let alone = membership.voter_ids().all(|id| id == me);
        let heard = self.core.ear.heard();
        match self.patience.next(now, &heard, alone, &self.core.options) {
            Next::Wait(until) => until,
            Next::Look(leader) => {
                prevote::look(&self.core, leader).await;
                self.patience.looked = Some(clock::now());
                clock::now()
            }
            Next::Stand => {
                self.stand(alone).await;
                let now = clock::now();
                self.patience = Patience {
                    not_before: now + draw(&self.core),
                    ..Patience::new(draw(&self.core))
                };
                now
            }
        }
    }

    async fn stand(&mut self, alone: bool) {
        let before = self.core.server();
        let heard = self.core.ear.heard();
        if !alone {
            let term = term(&before.vote).max(self.term_seen) + 1;
            let gone_leader = heard.leader.filter(|_| heard.gone.is_some());
            let tally = prevote::ask(&self.core, term, gone_leader).await;
            self.term_seen = self.term_seen.max(tally.term_seen);
            if !tally.granted {
                return;
            }
        }
        // While the others answered, a leader may have spoken up.
        let present = matches!(self.core.presence(clock::now()), Presence::Fresh(_));
        if (present && !alone) || self.core.server().vote != before.vote {
            return;
        }
        tracing::info!(
            term = term(&before.vote) + 1,
            gone = heard.gone.is_some(),
            "standing for election"
        );
        elect(&self.core).await;
    }
}

/// Has openraft stand, and waits until it leads, follows somebody else, or nobody won.
pub(crate) async fn elect(core: &Core) {
    let mut roles = core.raft.server_metrics();
    let before = core.server().vote;
    if core.raft.trigger().elect().await.is_err() {
        return;
    }
    let me = core.my_id();
    let decided = roles.wait_for(|server| {
        let follows = server.vote.is_committed() && server.vote.leader_id.node_id != me;
        server.vote != before && (server.state == ServerState::Leader || follows)
    });
    // Who won, if anybody, is seen by the caller's next step.
    let _ = timeout(ELECTION_DEADLINE, decided).await;
}

fn draw(core: &Core) -> Duration {
    let (least, most) = core.options.extra_patience;
    rand::rng().random_range(least..most)
}

/// The leader asks this member to take its place: no PreVote, as it knows what it does.
pub(crate) async fn take_over(
    core: &Core,
    at_least: Option<&v1::LogId>,
    deadline: Duration,
) -> Result<(), String> {
    let wanted = at_least.map(log_id_in);
    let mut progress = core.raft.data_metrics();
    let caught_up = progress.wait_for(|_| core.store.ends().1 >= wanted);
    if !matches!(timeout(deadline, caught_up).await, Ok(Ok(_))) {
        let last = core.store.ends().1.as_ref().map(log_id_out);
        return Err(format!(
            "the log ends at {} after {deadline:?}, {} is needed",
            log_id_text(last.as_ref()),
            log_id_text(at_least),
        ));
    }
    let server = core.server();
    let me = core.my_id();
    if server.state == ServerState::Leader {
        return Ok(());
    }
    if !server
        .membership_config
        .membership()
        .voter_ids()
        .any(|id| id == me)
    {
        return Err("this member has no vote".to_owned());
    }
    if core.withholds_votes(clock::now()).is_some() {
        return Err("nobody has vouched for its store yet".to_owned());
    }
    let term = term(&server.vote) + 1;
    core.links.transfer_term.store(term, Ordering::SeqCst);
    tracing::info!(term, "taking the lead at the leader's request");
    elect(core).await;
    Ok(())
}
