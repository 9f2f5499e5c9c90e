//! Whether the member that an operator names can become primary; if not, in one line why and what to
//! do.

use pgha_core::report::{MemberReport, MemberState, Role};
use pgha_core::{ClusterState, Lsn, Member, MemberName};

use super::status::Seen;

/// Who may be named in the place of `primary`.
pub(super) struct Targets<'a> {
    pub(super) state: &'a ClusterState,
    pub(super) seen: &'a Seen,
    pub(super) primary: Option<&'a MemberName>,
}

impl Targets<'_> {
    /// A data member beside the primary that answers: enough for a failover, which judges the rest by
    /// what is reported for it.
    pub(super) fn answering(&self, target: &MemberName) -> Result<&MemberReport, String> {
        let member = self.data_member(target)?;
        if Some(target) == self.primary {
            return Err(format!(
                "{target} is the primary already: name another member ({})",
                self.others()
            ));
        }
        self.seen.report(target).ok_or_else(|| {
            let address = &member.addresses.raft;
            format!(
                "{target} does not answer at {address}: start it or mend the network, or name \
                 another member"
            )
        })
    }

    /// A replica that can take over with nothing lost and without a long wait. `told` is the primary's
    /// position as it told its grantors.
    pub(super) fn ready(&self, target: &MemberName, told: Option<Lsn>) -> Result<(), String> {
        let report = self.answering(target)?;
        if self.state.members.get(target).is_some_and(|m| m.excluded) {
            return Err(format!(
                "{target} is excluded from becoming primary: name another member"
            ));
        }
        if report.role != Role::Replica || report.state != MemberState::Streaming {
            let why = report.reason.map_or("", |reason| reason.code());
            let state = format!("{} {} {why}", report.role, report.state);
            return Err(format!(
                "{target} is {}: wait until it streams, or name another member",
                state.trim_end()
            ));
        }
        if let Some(copier) = self.copier_of(target) {
            return Err(format!(
                "{copier} is copying {target}'s data, which a change of primary would break off: wait until \
                 {copier} streams, or name another member"
            ));
        }
        let end = self
            .primary
            .and_then(|primary| self.seen.report(primary))
            .and_then(|report| report.received)
            .max(told)
            .unwrap_or_default();
        let lag = report.replayed.unwrap_or_default().bytes_behind(end);
        let max = self.state.settings.max_lag_on_failover;
        if lag > max {
            return Err(format!(
                "{target} is {lag} bytes behind, max_lag_on_failover is {max}: wait until it has \
                 caught up, or name another member"
            ));
        }
        Ok(())
    }

    /// Who makes a copy of that member's data (design 6.3).
    fn copier_of(&self, target: &MemberName) -> Option<&MemberName> {
        let copies = |name: &&MemberName| {
            let report = self.seen.report(name);
            report.is_some_and(|report| report.clones_from.as_ref() == Some(target))
        };
        self.state.data_members().map(|(name, _)| name).find(copies)
    }

    /// Whether anybody is ready; else why nobody is.
    pub(super) fn any_ready(&self, told: Option<Lsn>) -> Result<(), String> {
        let others = self.state.data_members().map(|(name, _)| name);
        let mut refusals = Vec::new();
        for name in others.filter(|name| Some(*name) != self.primary) {
            match self.ready(name, told) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusals.push(refusal),
            }
        }
        if refusals.is_empty() {
            return Err("no other data member could take over: the cluster has one".to_owned());
        }
        Err(format!(
            "no replica is fit to take over: {}",
            refusals.join("; ")
        ))
    }

    fn data_member(&self, target: &MemberName) -> Result<&Member, String> {
        match self.state.members.get(target) {
            Some(member) if member.has_data() => Ok(member),
            Some(_) => Err(format!(
                "{target} is a witness and has no data: name a data member ({})",
                self.others()
            )),
            None => Err(format!(
                "{target} is no member of cluster {}: name a data member ({})",
                self.state.cluster,
                self.others()
            )),
        }
    }

    /// Those who could be named instead.
    fn others(&self) -> String {
        let names: Vec<&str> = self
            .state
            .data_members()
            .map(|(name, _)| name)
            .filter(|name| Some(*name) != self.primary)
            .map(MemberName::as_str)
            .collect();
        names.join(", ")
    }
}
