//! Going on with one member after the quorum was lost for ever: what it has, whether it may, and the
//! doing. Answered by the member that is asked, for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pgha_core::report::MemberReport;
use pgha_core::state::PrimaryRecord;
use pgha_core::{Fitness, Generation, Lsn, MemberKind, MemberName, Phase, Reason};
use pgha_proto::v1;
use pgha_proto::v1::hello_reply::State;
use pgha_raft::{RoleView, StateView};
use tonic::Status;

use super::super::{ANSWER_MAX, Joined, ask_peers, status};
use crate::agent::wall_clock;
use crate::restart;

/// For the answer to be on its way before the process is another one.
const LAST_WORD: Duration = Duration::from_millis(300);
/// For the whole recovery; the next process finds the old store or the new one, as after a kill.
const RECOVER_MAX: Duration = Duration::from_secs(10);

/// What this member has, and who else answers.
pub(super) async fn view(joined: &Joined) -> v1::QuorumReply {
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

/// Of data that was looked into. What follows a primary was judged before it did.
fn fitness(joined: &Joined, view: &StateView) -> Option<Fitness> {
    let position = joined.published.borrow().position.clone()?;
    Some(view.state.fitness(joined.peers.me(), &position))
}

/// How far the last primary told that its WAL was flushed.
fn told(joined: &Joined, view: &StateView) -> Option<Lsn> {
    let record = last_primary(view)?;
    let timing = view.state.settings.lease();
    joined.grants.view(record.epoch, timing).flush_lsn
}

fn last_primary(view: &StateView) -> Option<&PrimaryRecord> {
    match &view.state.phase {
        Phase::Primary(record) => Some(record),
        Phase::Revoked(revoked) => revoked.previous.as_ref(),
        Phase::Empty | Phase::Bootstrap { .. } => None,
    }
}

/// Checks the order against what is here now, carries it out, and has the process start anew.
pub(super) async fn recover(
    joined: &Joined,
    request: v1::RecoverQuorumRequest,
) -> Result<v1::RecoverQuorumReply, Status> {
    let (view, role) = seen(joined);
    let (state, me) = (&view.state, joined.peers.me());
    let refused = |text: String| Err(Status::failed_precondition(text));
    if request.cluster_id != state.cluster_id.0 {
        return refused(format!(
            "this is cluster {}, the order is for {}",
            state.cluster_id, request.cluster_id
        ));
    }
    if request.survivor != me.0 {
        return refused(format!(
            "this is {me}, the order is for {}: ask the member itself that is to go on",
            request.survivor
        ));
    }
    if request.generation != state.generation.0 {
        return refused(format!(
            "this is generation {}, what was confirmed was generation {}: look again",
            state.generation, request.generation
        ));
    }
    let answers = answers(joined, &view).await;
    if let Some(obstacle) = obstacle(joined, &view, &role, &answers) {
        return refused(obstacle);
    }
    tracing::warn!(
        cluster_id = %state.cluster_id,
        "an operator confirmed that the other members are lost for ever: {me} goes on alone"
    );
    let raft = std::sync::Arc::clone(&joined.raft);
    // The next process has not heard it.
    let told = told(joined, &view);
    // On its own: whoever asked may go away, and half of it is nothing.
    let work = tokio::spawn(async move {
        // Raft has ended here by then: a disk that stands still must not leave it at that.
        let outcome = tokio::time::timeout(RECOVER_MAX, raft.recover(wall_clock(), told))
            .await
            .unwrap_or(Err(pgha_raft::RecoverError::TimedOut(RECOVER_MAX)));
        if !outcome
            .as_ref()
            .is_err_and(pgha_raft::RecoverError::is_refusal)
        {
            tokio::spawn(async {
                tokio::time::sleep(LAST_WORD).await;
                restart::again();
            });
        }
        outcome
    });
    let outcome = work.await;
    let outcome = outcome.map_err(|error| Status::internal(error.to_string()))?;
    match outcome {
        Ok(recovered) => {
            let (generation, epoch) = (recovered.generation, recovered.epoch);
            tracing::warn!(%generation, %epoch, "the recovery is on disk");
            Ok(v1::RecoverQuorumReply {
                generation: generation.0,
                epoch: epoch.0,
            })
        }
        Err(error) if error.is_refusal() => refused(error.to_string()),
        Err(error) => {
            tracing::error!(%error, "the quorum was not recovered");
            Err(Status::unknown(error.to_string()))
        }
    }
}

fn seen(joined: &Joined) -> (std::sync::Arc<StateView>, RoleView) {
    let view = joined.raft.state().borrow().clone();
    let role = joined.raft.role().borrow().clone();
    (view, role)
}

fn leader(role: &RoleView) -> Option<String> {
    let leader = role.leader.as_ref().filter(|_| role.quorum_fresh);
    leader.map(|leader| leader.name.0.clone())
}

type Answers = BTreeMap<MemberName, Option<v1::HelloReply>>;

/// What the addresses of the others answer at this moment.
async fn answers(joined: &Joined, view: &StateView) -> Answers {
    let others = view.state.members.iter();
    let others = others.filter(|(name, _)| *name != joined.peers.me());
    let others = others.map(|(name, member)| (name.clone(), member.addresses.raft.clone()));
    ask_peers(&others.collect(), &v1::HelloRequest::default(), ANSWER_MAX).await
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

/// Why this member must not, or cannot, go on alone.
fn obstacle(
    joined: &Joined,
    view: &StateView,
    role: &RoleView,
    answers: &Answers,
) -> Option<String> {
    let (state, me) = (&view.state, joined.peers.me());
    if joined.site.is_none() {
        return Some(format!(
            "{me} is a witness and has no data: recover on a data member that is left; where there \
             is none, restore a backup into a new cluster"
        ));
    }
    if role.quorum_fresh {
        let leader = leader(role).unwrap_or_else(|| "nobody yet".to_owned());
        return Some(format!(
            "a quorum answers (the Raft leader is {leader}): there is nothing to recover"
        ));
    }
    later(state.generation, &state.cluster_id.0, answers)
        .or_else(|| others_suffice(role, answers, me))
        .or_else(|| without_data(joined, view))
}

/// Somebody was recovered already.
fn later(mine: Generation, cluster_id: &str, answers: &Answers) -> Option<String> {
    let replies = answers
        .iter()
        .filter_map(|(name, r)| Some((name, r.as_ref()?)));
    let mut same = replies.filter(|(_, reply)| reply.cluster_id == cluster_id);
    let (name, reply) = same.find(|(_, reply)| reply.generation > mine.0)?;
    Some(format!(
        "{name} answers in generation {}, this member is of generation {mine}: the cluster was \
         recovered without it, and it comes back by itself",
        reply.generation
    ))
}

/// Those who answer are a quorum together with this member: they are not lost.
fn others_suffice(role: &RoleView, answers: &Answers, me: &MemberName) -> Option<String> {
    let voters = role.voters.iter().filter_map(|id| role.members.get(id));
    let alive: BTreeSet<&MemberName> = voters
        .filter(|peer| {
            let reply = answers.get(&peer.name).and_then(Option::as_ref);
            let as_was =
                |r: &v1::HelloReply| r.store_id == peer.store_id.0 && r.state() == State::Member;
            peer.name == *me || reply.is_some_and(as_was)
        })
        .map(|peer| &peer.name)
        .collect();
    if alive.len() * 2 <= role.voters.len() {
        return None;
    }
    let names: Vec<&str> = alive.iter().map(|name| name.as_str()).collect();
    Some(format!(
        "{} of {} voting members answer ({}): they are not lost, and elect a Raft leader once they \
         reach each other",
        names.len(),
        role.voters.len(),
        names.join(", ")
    ))
}

fn without_data(joined: &Joined, view: &StateView) -> Option<String> {
    let me = joined.peers.me();
    if matches!(view.state.phase, Phase::Empty | Phase::Bootstrap { .. }) {
        let text = "the cluster never had a primary: there is no data to go on with";
        return Some(format!("{text}; remove the directories and form it anew"));
    }
    let report = joined.published.borrow().report.clone();
    let Some(report) = report else {
        return Some(format!("{me} is starting: ask again in a moment"));
    };
    let why = report.reason.map_or("", Reason::code);
    if report.system_identifier != view.state.system_identifier {
        return Some(format!(
            "{me} has no data of this cluster ({} {why}): recover on a member that has",
            report.state
        ));
    }
    if let Some(Fitness::Unfit { why }) = fitness(joined, view) {
        return Some(format!(
            "the data of {me} cannot be a primary's: {why}; recover on another data member that is \
             left, or restore a backup into a new cluster"
        ));
    }
    report.received.is_none().then(|| {
        format!(
            "how far the data of {me} goes is not known ({} {why}): its PostgreSQL has to run as a \
             fenced standby first",
            report.state
        )
    })
}
