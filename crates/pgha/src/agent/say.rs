//! What the log has of a decision.

use pgha_core::decide::Decision;
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
        let reason = why.reason.map_or("", pgha_core::Reason::sentence);
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
        match why.state {
            MemberState::Failed => say!(error),
            MemberState::Fenced => say!(warn),
            // Nobody is primary: whoever reads only warnings has to find that.
            _ if why.cluster.is_some() => say!(warn),
            _ => say!(info),
        }
        self.seen.why = Some(why.clone());
    }
}
