//! The first data directory of a cluster.

use super::local::JobKind;
use super::{Data, Decision, Input, begin};
use crate::report::{MemberState, Role};
use crate::{MemberName, Reason};

pub(super) fn bootstrap(input: &Input<'_>, node: &MemberName, decision: &mut Decision) {
    if *node != input.me.name {
        decision.is(Role::None, MemberState::Starting, Reason::WaitingForPrimary);
        return;
    }
    decision.is(Role::None, MemberState::Starting, Reason::Initializing);
    match &input.local.data {
        Data::Missing | Data::Unfinished => begin(input, JobKind::Initialize, decision),
        Data::Unusable(reason) => decision.is(Role::None, MemberState::Failed, *reason),
        Data::Unknown | Data::Cluster(_) => {}
    }
}
