//! What an operator is shown before the order.

use pgha_core::report::MemberReport;
use pgha_core::{Fitness, MemberKind, MemberName};
use pgha_proto::v1;
use pgha_raft::{RoleView, StateView};

use super::facts::{Answers, answers, fitness, last_primary, leader, seen, told};
use super::obstacle::obstacle;
use crate::services::{Joined, status};

/// What this member has, and who else answers.
pub(in crate::services::admin) async fn view(joined: &Joined) -> v1::QuorumReply {
    let (view, role) = seen(joined);
    let state = &view.state;
    let report = joined.published.borrow().report.clone();
    let answers = answers(joined, &view).await;
    let left = match fitness(joined, &view) {
        Some(Fitness::Left { at }) => Some(at),
        Some(Fitness::OnLine | Fitness::Unfit { .. }) | None => None,
    };
    let extent = joined.raft.log_extent();
    v1::QuorumReply {
        cluster: state.cluster.clone(),
        cluster_id: state.cluster_id.0.clone(),
        generation: state.generation.0,
        name: joined.peers.me().0.clone(),
        quorum: role.quorum_fresh,
        leader: leader(&role),
        epoch: state.epoch.0,
        adopted_epoch: joined.grants.adopted().0,
        last_primary: last_primary(&view).map(|record| record.node.0.clone()),
        primary_flush_lsn: told(joined, &view).map(|lsn| lsn.0),
        timeline: report.as_ref().and_then(|r| r.timeline).map(|t| t.0),
        end_of_wal: report.as_ref().and_then(|r| r.received).map(|lsn| lsn.0),
        stale_ms: status::stale_ms(joined, &role),
        last_index: extent.last,
        committed_index: extent.committed,
        members: members(joined, &view, &role, &answers),
        obstacle: obstacle(joined, &view, &role, &answers),
        state: report.map_or_else(String::new, |r| in_words(&r)),
        left_line_at: left.map(|lsn| lsn.0),
    }
}

fn in_words(report: &MemberReport) -> String {
    let state = format!("{} {}", report.role, report.state);
    match report.reason {
        Some(reason) => format!("{state} ({})", reason.code()),
        None => state,
    }
}

fn members(
    joined: &Joined,
    view: &StateView,
    role: &RoleView,
    answers: &Answers,
) -> Vec<v1::QuorumMember> {
    let heard = joined.peers.heard();
    let listed = view.state.members.iter();
    let answer = |name: &MemberName| {
        if name == joined.peers.me() {
            return Some("this member".to_owned());
        }
        let reply = answers.get(name)?.as_ref()?;
        let state = reply.state().as_str_name();
        let state = state.trim_start_matches("STATE_").to_lowercase();
        let said = heard.get(name).filter(|heard| heard.refused_at.is_none());
        let wal = said.and_then(|heard| {
            let (timeline, end) = (heard.report.timeline?, heard.report.received?);
            Some(format!(", timeline {timeline}, end of WAL {end}"))
        });
        let wal = wal.unwrap_or_default();
        Some(format!("{state} of generation {}{wal}", reply.generation))
    };
    listed
        .map(|(name, member)| v1::QuorumMember {
            name: name.0.clone(),
            kind: match member.kind {
                MemberKind::Data => "data".to_owned(),
                MemberKind::Witness => "witness".to_owned(),
            },
            votes: role.voters.contains(&member.raft_id),
            address: member.addresses.raft.clone(),
            answer: answer(name),
        })
        .collect()
}
