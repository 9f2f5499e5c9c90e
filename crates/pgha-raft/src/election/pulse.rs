//! The heartbeats of a leader that nobody answers.
//!
//! Where its messages arrive and no answer comes back, its heartbeats keep the others from electing
//! one that could lead. So it falls silent now and then, for long enough that they may; not for
//! good, as it may be the only one whose log is new enough to lead.

use pgha_core::Mono;

use super::ear::Presence;
use crate::core::Core;

/// In leases: how long a leader without a quorum is silent, longer than anybody's patience.
const SILENT_LEASES: u32 = 3;
/// In leases: how long it is heard in between.
const HEARD_LEASES: u32 = 2;

/// Whether heartbeats go out.
#[derive(Default)]
pub(crate) struct Pulse {
    phase: Option<Phase>,
}

/// Of a leader without a quorum.
#[derive(Clone, Copy)]
struct Phase {
    silent: bool,
    until: Mono,
}

impl Pulse {
    /// Does what is due for a leader and tells when to look again.
    pub(crate) fn lead(&mut self, core: &Core, now: Mono) -> Mono {
        let rest = match core.presence(now) {
            Presence::Fresh(rest) => rest,
            Presence::Silent | Presence::Gone => return self.without_quorum(core, now),
        };
        self.rest(core);
        now + rest
    }

    /// Heartbeats go out again: a quorum answers, or this member does not lead any more.
    pub(crate) fn rest(&mut self, core: &Core) {
        if self.phase.take().is_some_and(|phase| phase.silent) {
            core.raft.runtime_config().heartbeat(true);
        }
    }

    fn without_quorum(&mut self, core: &Core, now: Mono) -> Mono {
        let phase = match self.phase {
            Some(phase) if phase.until > now => phase,
            Some(phase) => turn(core, now, !phase.silent),
            None => turn(core, now, false),
        };
        self.phase = Some(phase);
        phase.until
    }
}

fn turn(core: &Core, now: Mono, silent: bool) -> Phase {
    tracing::debug!(silent, "no quorum answers this leader");
    core.raft.runtime_config().heartbeat(!silent);
    let leases = if silent { SILENT_LEASES } else { HEARD_LEASES };
    Phase {
        silent,
        until: now + core.options.lease * leases,
    }
}
