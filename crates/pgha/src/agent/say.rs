//! What the log has of a decision.

use pgha_core::Reason;
use pgha_core::decide::{Decision, Why};
use pgha_core::report::MemberState;

use super::Agent;

impl Agent {
    /// Logs what changed, once.
    pub(super) fn say(&mut self, decision: &Decision) {
        let why = &decision.why;
        let told = self.seen.why.as_ref().is_some_and(|before| {
            (
                before.role,
                before.state,
                before.reason,
                before.cluster.as_ref().map(|c| c.0),
            ) == (
                why.role,
                why.state,
                why.reason,
                why.cluster.as_ref().map(|c| c.0),
            )
        });
        if told {
            return;
        }
        let reason = why.reason.map_or("", Reason::sentence);
        let cluster = why.cluster.as_ref().map_or("", |(_, text)| text);
        let epoch = self.state.borrow().state.epoch;
        macro_rules! say {
            ($level:ident) => {
                tracing::$level!(
                    %epoch, role = %why.role, state = %why.state, reason,
                    detail = why.detail.as_deref().unwrap_or(""), cluster, "this member"
                )
            };
        }
        if why.state == MemberState::Failed {
            say!(error);
        } else if why.reason.is_some_and(is_trouble) || nobody_is_primary(why) {
            say!(warn);
        } else {
            say!(info);
        }
        self.seen.why = Some(why.clone());
    }
}

/// What whoever reads only warnings has to find. The steps of an ordinary failover are none.
const fn is_trouble(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LeaseLost
            | Reason::Superseded
            | Reason::NoQuorum
            | Reason::ManualPromotion
            | Reason::Diverged
            | Reason::SettingsTooLow
            | Reason::DataMissing
            | Reason::JobFailed
            | Reason::StartFailed
    )
}

fn nobody_is_primary(why: &Why) -> bool {
    let reason = why.cluster.as_ref().map(|(reason, _)| *reason);
    reason.is_some_and(|reason| reason != Reason::Promoting && reason != Reason::Initializing)
}
