//! What a guard knows, and how it waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pgha_core::{Epoch, Mono};

use super::channel::Channel;
use super::emptying::Emptying;
use super::knock::Door;
use super::options::Options;
use super::releasing::Releasing;
use super::retiring::Retiring;
use super::wake::Wake;
use crate::board::LeaseBoard;
use crate::clock;
use crate::lock::GuardLock;
use crate::message::Event;
use crate::release::{ReleaseNote, ReleaseRoute};
use crate::secret::Secret;

/// Between two stamps while no deadline applies: nobody judges the guard by them then.
const STAMP_INTERVAL_IDLE: Duration = Duration::from_secs(10);
/// Stamps of one lease time while a deadline applies.
const STAMPS_PER_LEASE: u32 = 10;

pub(super) struct Guard {
    pub(super) options: Options,
    pub(super) board: LeaseBoard,
    /// None once the sidecar is gone.
    pub(super) control: Option<Channel>,
    pub(super) wake: Wake,
    /// From the first start on.
    pub(super) door: Option<Door>,
    /// Held while there may be a tree.
    pub(super) lock: Option<GuardLock>,
    pub(super) postmaster: Option<u32>,
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) releasing: Option<Releasing>,
    pub(super) retiring: Option<Retiring>,
    /// The highest epoch that any order carried.
    pub(super) seen: Epoch,
    /// The highest epoch that a primary's tree here had when it ended.
    pub(super) ended: Epoch,
    /// No tree is started any more.
    pub(super) leaving: bool,
    /// The last look found no child at all.
    pub(super) childless: bool,
    stamped_at: Mono,
}

/// What the tree is.
pub(super) enum Role {
    Primary(Primary),
    /// Also while there is no tree, with the last one's epoch.
    Standby(Epoch),
}

/// The tree of a primary.
pub(super) struct Primary {
    pub(super) epoch: Epoch,
    pub(super) secret: Secret,
    pub(super) route: ReleaseRoute,
    /// What the board said last about this very epoch.
    pub(super) kill_at: Mono,
    /// Started as a standby, and perhaps still one.
    pub(super) was_standby: bool,
}

impl Role {
    pub(super) fn epoch(&self) -> Epoch {
        match self {
            Self::Primary(primary) => primary.epoch,
            Self::Standby(epoch) => *epoch,
        }
    }
}

/// Where the guard is between a start and the next.
pub(super) enum Phase {
    /// The tree is empty; the sidecar may take its epoch's release over until then.
    AwaitingAck {
        note: ReleaseNote,
        until: Mono,
    },
    Emptying(Emptying),
    Idle,
    Running,
}

impl Guard {
    pub(super) fn new(options: Options, board: LeaseBoard, control: Channel, wake: Wake) -> Self {
        Self {
            options,
            board,
            control: Some(control),
            wake,
            door: None,
            lock: None,
            postmaster: None,
            role: Role::Standby(Epoch::NONE),
            phase: Phase::Idle,
            releasing: None,
            retiring: None,
            seen: Epoch::NONE,
            ended: Epoch::NONE,
            leaving: false,
            childless: true,
            stamped_at: Mono::ZERO,
        }
    }

    /// Tells the sidecar, if there is one.
    pub(super) fn say(&mut self, event: &Event) {
        if let Some(control) = &mut self.control {
            control.send(event);
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Nothing to guard, and nobody who could order anything.
    pub(super) fn is_done(&self) -> bool {
        let idle = matches!(self.phase, Phase::Idle) && self.releasing.is_none();
        idle && (self.leaving || self.control.is_none())
    }

    /// What is due by now, whether or not anything happened.
    pub(super) fn advance(&mut self) {
        let now = clock::now();
        self.advance_retiring(now);
        self.advance_emptying();
        self.advance_releasing(now);
    }

    /// The guard lives.
    pub(super) fn stamp(&mut self) {
        self.stamped_at = clock::now();
        self.board.stamp_guard(self.stamped_at);
    }

    pub(super) fn wait(&self) {
        let mut others: Vec<(BorrowedFd<'_>, bool)> = Vec::new();
        if let Some(control) = &self.control {
            others.push((control.as_fd(), control.has_unsent()));
        }
        if let Some(door) = &self.door {
            others.extend(door.fds().map(|fd| (fd, false)));
        }
        self.wake.wait(self.next_look(), &others);
    }

    fn next_look(&self) -> Mono {
        let (stamp_interval, kill_at) = match &self.role {
            Role::Primary(primary) if self.is_running() => {
                (self.board.lease() / STAMPS_PER_LEASE, primary.kill_at)
            }
            Role::Primary(_) | Role::Standby(_) => (STAMP_INTERVAL_IDLE, Mono::NEVER),
        };
        let phase = match &self.phase {
            Phase::AwaitingAck { until, .. } => *until,
            Phase::Emptying(emptying) => emptying.next_look(),
            Phase::Idle | Phase::Running => Mono::NEVER,
        };
        let releasing = self
            .releasing
            .as_ref()
            .map_or(Mono::NEVER, Releasing::next_look);
        let retiring = self
            .retiring
            .as_ref()
            .map_or(Mono::NEVER, Retiring::next_look);
        let times = [
            self.stamped_at + stamp_interval,
            kill_at,
            phase,
            releasing,
            retiring,
        ];
        times.into_iter().fold(Mono::NEVER, Mono::min)
    }

    /// Takes the guard's files away, unless they are another guard's by now.
    pub(super) fn leave(&mut self) {
        if let Some(door) = self.door.take() {
            door.close(&self.options.run_dir);
        }
    }
}
