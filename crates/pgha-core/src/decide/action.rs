//! What a decision orders.

use crate::decide::local::{JobKind, StopMode, Upstream};
use crate::report::{MemberState, Role};
use crate::{Command, Epoch, MemberName, Mono, Reason, TimelineId};

/// One order. Idempotent: the same one again while it is being carried out changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this epoch to disk as adopted.
    Adopt(Epoch),
    /// Collect and renew the lease of this epoch, nothing else's.
    HoldLease(Epoch),
    /// Stop renewing.
    DropLease,
    /// Let bytes pass while the lease of this epoch is held.
    OpenGate(Epoch),
    /// Hold new connections and end sessions at their next point outside a transaction. A fast stop
    /// ordered behind it waits a moment for them: a client that is just logging in is not refused.
    DrainGate(Epoch),
    /// Let nothing pass.
    CloseGate,
    /// Start PostgreSQL as a standby without upstream.
    StartStandby {
        /// Keep it on this timeline.
        pinned: Option<TimelineId>,
    },
    /// Start PostgreSQL as a standby of this upstream: only after a rewind to it, whose result is
    /// consistent no sooner than it has the upstream's WAL up to the rewind's end.
    StartAttached(Upstream),
    /// Start PostgreSQL as the primary of this epoch, whose lease is held.
    StartPrimary(Epoch),
    /// The running tree is the primary's of this epoch from now on, with its deadline.
    Assume(Epoch),
    /// Stop PostgreSQL.
    Stop(StopMode),
    /// Follow this upstream.
    Follow(Upstream),
    /// Begin this job.
    Begin(JobKind),
    /// End the running job, whatever it has done.
    CancelJob,
    /// Have exactly these slots of ours on the primary.
    KeepSlots(Vec<String>),
    /// Prove to everybody that nothing of this epoch's tree is left.
    Release {
        /// Which.
        epoch: Epoch,
        /// What made it stop.
        why: String,
    },
    /// Propose to the Raft group.
    Propose(Box<Command>),
    /// Hand the Raft leadership over.
    TransferLeadership(MemberName),
}

/// What a member is and why, as a result of the same facts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Why {
    /// What its PostgreSQL is.
    pub role: Role,
    /// What it does.
    pub state: MemberState,
    /// Why.
    pub reason: Option<Reason>,
    /// With numbers.
    pub detail: Option<String>,
    /// What the raft leader waits for or refuses, of the cluster as a whole.
    pub cluster: Option<(Reason, String)>,
}

/// Orders, when to look again, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// In this order.
    pub actions: Vec<Action>,
    /// Look again then at the latest, whatever happens.
    pub wake_at: Mono,
    /// Why.
    pub why: Why,
}

impl Decision {
    /// Nothing to do before `wake_at`.
    pub fn idle(wake_at: Mono) -> Self {
        Self {
            actions: Vec::new(),
            wake_at,
            why: Why::default(),
        }
    }

    /// Orders `action`.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Looks again at `at` or sooner. What is past was just decided about: waking for it again would
    /// never end.
    pub fn wake(&mut self, now: Mono, at: Mono) {
        if at > now {
            self.wake_at = self.wake_at.min(at);
        }
    }

    /// Says what the member is and does.
    pub fn is(&mut self, role: Role, state: MemberState, reason: impl Into<Option<Reason>>) {
        self.why.role = role;
        self.why.state = state;
        self.why.reason = reason.into();
    }
}
