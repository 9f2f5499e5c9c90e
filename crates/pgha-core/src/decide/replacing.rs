//! The data is being replaced: until that has ended nothing is started on it, and nobody stands with
//! it (P4, P8).

use super::local::{Data, Job, JobKind, Local};
use super::{Action, Decision, Input};
use crate::report::{MemberState, Role};
use crate::{Phase, Reason};

impl JobKind {
    /// Whether it changes the data directory itself, which is neither the old one nor the new one
    /// meanwhile.
    pub fn replaces_data(&self) -> bool {
        match self {
            Self::Initialize | Self::Clone { .. } | Self::Rewind { .. } => true,
            Self::Settle | Self::Promote { .. } | Self::Checkpoint { .. } => false,
        }
    }
}

impl Local {
    /// The job that replaces the data, if one does, also one that was cancelled and has not ended.
    pub fn replacing(&self) -> Option<&Job> {
        self.job.as_ref().filter(|job| job.kind.replaces_data())
    }

    /// The running job is to end. One that replaces the data stays until it has let go of the
    /// directory, as it may write into it until then. True where it was not cancelled before.
    pub fn cancels(&mut self) -> bool {
        match &mut self.job {
            Some(job) if job.kind.replaces_data() => !std::mem::replace(&mut job.cancelled, true),
            other => other.take().is_some(),
        }
    }

    /// What is known of data that a job begins to replace: nothing that it could be started from.
    pub(super) fn loses_data(&mut self) {
        self.data = Data::Unfinished;
    }
}

/// True while the data is being replaced: nothing else is to be decided about it, whatever the phase.
/// A copy or rewind from a source that the cluster has moved away from is ended.
pub(super) fn replacing(input: &Input<'_>, decision: &mut Decision) -> bool {
    let Some(job) = input.local.replacing() else {
        return false;
    };
    if is_abandoned(input, &job.kind) && !job.cancelled {
        decision.act(Action::CancelJob);
    }
    let (state, reason) = match &job.kind {
        JobKind::Rewind { .. } => (MemberState::Rewinding, Reason::Rewinding),
        JobKind::Clone { .. } => (MemberState::Cloning, Reason::Cloning),
        JobKind::Initialize
        | JobKind::Settle
        | JobKind::Promote { .. }
        | JobKind::Checkpoint { .. } => (MemberState::Starting, Reason::Initializing),
    };
    decision.is(Role::None, state, reason);
    decision.why.detail = if job.cancelled {
        Some("cancelled: PostgreSQL is not started before it has ended".to_owned())
    } else {
        job.progress.clone()
    };
    true
}

fn is_abandoned(input: &Input<'_>, kind: &JobKind) -> bool {
    let (Phase::Primary(record), JobKind::Clone { epoch, .. } | JobKind::Rewind { epoch, .. }) =
        (&input.state.phase, kind)
    else {
        return false;
    };
    *epoch != record.epoch
}
