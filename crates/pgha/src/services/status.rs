//! What `pgha-ctl status` shows: the replicated state, and each member as it last reported.

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::decide::Heard;
use pgha_core::report::{MemberReport, MemberState, Role};
use pgha_core::{Lsn, MemberKind, MemberName, Phase, Reason};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_raft::{RoleView, StateView};

use super::{Joined, Shared};
use crate::formation::wire_addresses;

/// A member that was not heard of for so long counts as unreachable.
const HEARD_MAX: Duration = Duration::from_millis(1500);

/// Everything as seen from this member.
pub(crate) fn status(shared: &Shared) -> v1::StatusReply {
    let Some(joined) = shared.joined.get() else {
        return unformed(shared);
    };
    let view = joined.raft.state().borrow().clone();
    if !view.state.is_created() {
        return unformed(shared);
    }
    let role = joined.raft.role().borrow().clone();
    let seen = Seen::of(joined);
    let primary = seen.primary(&view);
    let (reason, detail) = explain_absence(joined, &view, &role, primary.as_ref());
    v1::StatusReply {
        cluster: view.state.cluster.clone(),
        cluster_id: Some(view.state.cluster_id.0.clone()),
        generation: view.state.generation.0,
        quorum: role.quorum_fresh,
        stale_ms: age_ms(
            &role,
            age(joined, &role).unwrap_or_else(|| clock::now().since(joined.started)),
        ),
        system_identifier: view.state.system_identifier.map(|id| id.0),
        epoch: Some(view.state.epoch.0),
        timeline: (view.state.lineage.head.0 > 0).then_some(view.state.lineage.head.0),
        primary: primary.map(|name| name.0),
        paused: view.state.paused,
        raft: Some(raft(&role)),
        sync: Some(v1::SyncStatus {
            mode: "async".to_owned(),
            standbys: Vec::new(),
        }),
        members: seen.members(&view, &role),
        reason,
        detail,
        answered_by: shared.config.name.0.clone(),
    }
}

fn unformed(shared: &Shared) -> v1::StatusReply {
    let (reason, detail) = shared.waiting.borrow().clone();
    v1::StatusReply {
        cluster: shared.config.cluster.clone(),
        raft: Some(v1::RaftStatus::default()),
        sync: Some(v1::SyncStatus {
            mode: "async".to_owned(),
            standbys: Vec::new(),
        }),
        members: Vec::new(),
        reason: Some(reason.code().to_owned()),
        detail: Some(detail),
        answered_by: shared.config.name.0.clone(),
        ..v1::StatusReply::default()
    }
}

/// Age of the view; more than anybody's where this process has heard nobody.
pub(crate) fn stale_ms(joined: &Joined, role: &RoleView) -> u64 {
    age_ms(role, age(joined, role).unwrap_or(Duration::MAX)).min(u64::MAX / 2)
}

fn age_ms(role: &RoleView, age: Duration) -> u64 {
    if role.quorum_fresh {
        return 0;
    }
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Since a leader was heard, or a quorum followed this one.
fn age(joined: &Joined, role: &RoleView) -> Option<Duration> {
    if role.is_leader {
        return joined.raft.quorum_age();
    }
    let heard = joined.raft.last_leader_contact();
    heard.map(|at| clock::now().since(at))
}

fn raft(role: &RoleView) -> v1::RaftStatus {
    let names = |ids: &std::collections::BTreeSet<pgha_core::RaftId>| {
        let mut names: Vec<String> = ids
            .iter()
            .filter_map(|id| role.members.get(id))
            .map(|peer| peer.name.0.clone())
            .collect();
        names.sort();
        names
    };
    v1::RaftStatus {
        leader: role
            .leader
            .as_ref()
            .filter(|_| role.quorum_fresh)
            .map(|leader| leader.name.0.clone()),
        term: role.term,
        voters: names(&role.voters),
        learners: names(&role.learners),
    }
}

/// The voters that this member does not hear.
pub(super) fn silent_voters(joined: &Joined, role: &RoleView) -> Vec<String> {
    let seen = Seen::of(joined);
    let voters = role.voters.iter().filter_map(|id| role.members.get(id));
    voters
        .filter(|peer| seen.report(&peer.name).is_none())
        .map(|peer| peer.name.0.clone())
        .collect()
}

fn explain_absence(
    joined: &Joined,
    view: &StateView,
    role: &RoleView,
    primary: Option<&MemberName>,
) -> (Option<String>, Option<String>) {
    if !role.quorum_fresh {
        let silent = silent_voters(joined, role).join(", ");
        let detail = (!silent.is_empty()).then(|| format!("silent: {silent}"));
        return (Some(Reason::NoQuorum.code().to_owned()), detail);
    }
    if primary.is_some() {
        return (None, None);
    }
    // What the cluster waits for is in the leader's decision; until that is heard others say what they see.
    let leader = role.leader.as_ref();
    let told = leader.and_then(|leader| joined.peers.cluster_reason(&leader.name, HEARD_MAX));
    if let Some(told) = told {
        return (Some(told.reason), Some(told.text));
    }
    let own = joined.published.borrow().why.cluster.clone();
    let (reason, text) = own.unwrap_or_else(|| match &view.state.phase {
        Phase::Primary(record) => (
            Reason::Promoting,
            format!("{} is becoming primary", record.node),
        ),
        Phase::Bootstrap { node } => (
            Reason::Initializing,
            format!("{node} is making the first data directory"),
        ),
        Phase::Empty | Phase::Revoked(_) => {
            (Reason::NoPrimary, Reason::NoPrimary.sentence().to_owned())
        }
    });
    (Some(reason.code().to_owned()), Some(text))
}

/// What is known of the members now.
pub(crate) struct Seen {
    own: Option<MemberReport>,
    heard: BTreeMap<MemberName, Heard>,
    /// What the addresses of others answer that do not report.
    answers: BTreeMap<MemberName, String>,
}

impl Seen {
    pub(crate) fn of(joined: &Joined) -> Self {
        let own = joined.published.borrow().report.clone();
        Self {
            own,
            heard: joined.peers.heard(),
            answers: joined.peers.answers(),
        }
    }

    /// The report of a member, if it is no older than that.
    pub(crate) fn report_within(&self, name: &MemberName, age: Duration) -> Option<&MemberReport> {
        let heard = self.heard.get(name);
        let old = heard.is_some_and(|heard| clock::now().since(heard.at) > age);
        self.report(name).filter(|_| !old)
    }

    /// The newest report of a member that answers.
    pub(crate) fn report(&self, name: &MemberName) -> Option<&MemberReport> {
        if let Some(own) = self.own.as_ref().filter(|own| own.name == *name) {
            return Some(own);
        }
        self.heard
            .get(name)
            .filter(|heard| self.answers(heard))
            .map(|heard| &heard.report)
    }

    fn answers(&self, heard: &Heard) -> bool {
        heard.refused_at.is_none() && clock::now().since(heard.at) < HEARD_MAX
    }

    /// Who says that its gate is open for the newest epoch.
    pub(crate) fn primary(&self, view: &StateView) -> Option<MemberName> {
        let record = view.state.primary()?;
        let report = self.report(&record.node)?;
        (report.gate_open == Some(record.epoch)).then(|| record.node.clone())
    }

    fn members(&self, view: &StateView, role: &RoleView) -> Vec<v1::MemberStatus> {
        let end = view
            .state
            .primary()
            .and_then(|record| self.report(&record.node))
            .filter(|report| report.role == Role::Primary)
            .and_then(|report| report.received);
        let known = view.state.members.iter();
        known
            .map(|(name, member)| {
                let mut status = v1::MemberStatus {
                    name: name.0.clone(),
                    kind: match member.kind {
                        MemberKind::Data => "data".to_owned(),
                        MemberKind::Witness => "witness".to_owned(),
                    },
                    addresses: Some(wire_addresses(&member.addresses)),
                    tags: BTreeMap::new(),
                    ..v1::MemberStatus::default()
                };
                match self.report(name) {
                    Some(report) => fill(&mut status, report, end),
                    None => {
                        absent(&mut status, member.kind);
                        status.detail = self.answers.get(name).cloned();
                    }
                }
                if view.state.is_ruled_out(member) {
                    status.reason = Some(Reason::RuledOut.code().to_owned());
                } else if !role.voters.contains(&member.raft_id) && status.detail.is_none() {
                    status.detail = Some("has no vote yet: its log is catching up".to_owned());
                }
                status
            })
            .collect()
    }
}

fn fill(status: &mut v1::MemberStatus, report: &MemberReport, end: Option<Lsn>) {
    status.role = report.role.to_string();
    status.state = report.state.to_string();
    status.reason = report.reason.map(|reason| reason.code().to_owned());
    status.detail.clone_from(&report.detail);
    status.timeline = report.timeline.map(|timeline| timeline.0);
    status.received_lsn = report.received.map(|lsn| lsn.0);
    status.replayed_lsn = report.replayed.map(|lsn| lsn.0);
    status.lag_bytes = match (report.role, report.replayed, end) {
        (Role::Primary, Some(_), _) => Some(0),
        (_, Some(replayed), Some(end)) => Some(replayed.bytes_behind(end)),
        _ => None,
    };
}

fn absent(status: &mut v1::MemberStatus, kind: MemberKind) {
    let role = if kind == MemberKind::Witness {
        Role::Witness
    } else {
        Role::None
    };
    status.role = role.to_string();
    status.state = MemberState::Unreachable.to_string();
    status.reason = Some(Reason::Unreachable.code().to_owned());
}
