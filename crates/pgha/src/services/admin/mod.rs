//! What `pgha-ctl` asks. Any member answers; changes are made by the raft leader.

mod change;
mod order;
mod progress;
mod quorum;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::{Command, Epoch, MemberName};
use pgha_guard::clock;
use pgha_proto::v1;
use pgha_proto::v1::admin_client::AdminClient;
use pgha_proto::v1::admin_server::Admin;
use pgha_raft::RoleView;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::status::Seen;
use super::target::Targets;
use super::{Joined, Shared, doctor, explain, status};
use order::Order;
use progress::Events;

/// An election is over within this.
const LEADER_MAX: Duration = Duration::from_secs(3);
const LEADER_PAUSE: Duration = Duration::from_millis(100);
const PROPOSE_MAX: Duration = Duration::from_secs(5);

/// Serves `Admin`.
#[derive(Clone)]
pub(crate) struct AdminService(pub(crate) Shared);

impl AdminService {
    fn joined(&self) -> Result<&Joined, Status> {
        self.0.joined.get().ok_or_else(|| {
            let (reason, text) = self.0.waiting.borrow().clone();
            Status::failed_precondition(format!("no cluster yet ({reason}): {text}"))
        })
    }

    /// An order that a member passed on is for this member of its cluster.
    fn check(&self, passed_on_by: Option<&v1::Identity>) -> Result<(), Status> {
        if passed_on_by.is_some() {
            self.joined()?.raft.check_identity(passed_on_by)?;
        }
        Ok(())
    }

    /// The leader where somebody else leads. A change of the leader is waited out; a group
    /// without a quorum is not.
    async fn leader(&self) -> Result<Option<OtherLeader>, Status> {
        let joined = self.joined()?;
        let until = clock::now() + LEADER_MAX;
        loop {
            let role = joined.raft.role().borrow().clone();
            if role.is_leader && role.quorum_fresh {
                return Ok(None);
            }
            let leader = joined
                .raft
                .leader()
                .filter(|_| role.quorum_fresh && !role.is_leader);
            if let Some(leader) = leader
                && let Some(channel) = crate::net::connect(&leader.address).await
            {
                let peer = role.members.get(&leader.raft_id);
                let store_id = peer.map(|peer| peer.store_id.clone());
                return Ok(Some(OtherLeader {
                    client: AdminClient::new(channel),
                    identity: joined.raft.identity_to(leader.raft_id, store_id),
                }));
            }
            if clock::now() >= until {
                return Err(Status::failed_precondition(without_quorum(joined, &role)));
            }
            tokio::time::sleep(LEADER_PAUSE).await;
        }
    }
}

/// Another member, who leads.
struct OtherLeader {
    client: AdminClient<Channel>,
    /// What an order is passed on with: by now its address may be that of a member of another cluster,
    /// which must not carry it out.
    identity: v1::Identity,
}

/// Who has to come back.
fn without_quorum(joined: &Joined, role: &RoleView) -> String {
    let seen = Seen::of(joined);
    let voters = role.voters.iter().filter_map(|id| role.members.get(id));
    let names: Vec<&MemberName> = voters.map(|peer| &peer.name).collect();
    let silent = names.iter().filter(|name| seen.report(name).is_none());
    let silent: Vec<&str> = silent.map(|name| name.as_str()).collect();
    if silent.is_empty() {
        let text = "the members answer and elect a Raft leader: try again in a moment";
        return format!("no quorum: {text}");
    }
    format!(
        "no quorum: of {} voting members {} {} not answer; start enough of them, or mend the network",
        names.len(),
        silent.join(", "),
        if silent.len() == 1 { "does" } else { "do" }
    )
}

#[tonic::async_trait]
impl Admin for AdminService {
    type SwitchoverStream = Events;
    type FailoverStream = Events;

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(status::status(&self.0)))
    }

    async fn history(
        &self,
        _request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryReply>, Status> {
        let view = self.joined()?.raft.state().borrow().clone();
        Ok(Response::new(v1::HistoryReply {
            entries: explain::history(&view.state),
        }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainReply>, Status> {
        let view = self.joined()?.raft.state().borrow().clone();
        let wanted = request.into_inner().epoch.map(Epoch);
        let entry = view
            .state
            .journal
            .iter()
            .rev()
            .find(|e| wanted.is_none_or(|w| e.epoch == w));
        let entry = entry.ok_or_else(|| {
            let what = wanted.map_or_else(String::new, |epoch| format!(" of epoch {epoch}"));
            Status::not_found(format!("the journal has no change of primary{what}"))
        })?;
        Ok(Response::new(v1::ExplainReply {
            entry: Some(explain::entry(entry)),
            lines: explain::lines(entry),
        }))
    }

    async fn doctor(
        &self,
        _request: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorReply>, Status> {
        Ok(Response::new(doctor::doctor(&self.0)))
    }

    async fn settings(
        &self,
        _request: Request<v1::SettingsRequest>,
    ) -> Result<Response<v1::SettingsReply>, Status> {
        Ok(Response::new(settings::settings(self.joined()?)))
    }

    async fn set_settings(
        &self,
        request: Request<v1::SetSettingsRequest>,
    ) -> Result<Response<v1::SettingsReply>, Status> {
        let mut request = request.into_inner();
        self.check(request.passed_on_by.as_ref())?;
        if let Some(mut leader) = self.leader().await? {
            request.passed_on_by = Some(leader.identity);
            return leader.client.set_settings(request).await;
        }
        let joined = self.joined()?;
        let current = joined.raft.state().borrow().state.settings.clone();
        let set: BTreeMap<String, String> = request.values.into_iter().collect();
        let expected_version = request.expected_version.unwrap_or(current.version);
        settings::check_version(&current, expected_version)?;
        settings::check(joined.site.as_deref(), &current, &set, &request.unset).await?;
        let command = Command::SetSettings {
            expected_version,
            set,
            unset: request.unset,
        };
        settings::propose(&joined.raft, command, !request.no_wait).await?;
        Ok(Response::new(settings::settings(joined)))
    }

    async fn switchover(
        &self,
        request: Request<v1::SwitchoverRequest>,
    ) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        self.check(request.passed_on_by.as_ref())?;
        self.order(Order::Switchover(request)).await
    }

    async fn failover(
        &self,
        request: Request<v1::FailoverRequest>,
    ) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        self.check(request.passed_on_by.as_ref())?;
        self.order(Order::Failover(request)).await
    }

    async fn quorum(
        &self,
        _request: Request<v1::QuorumRequest>,
    ) -> Result<Response<v1::QuorumReply>, Status> {
        Ok(Response::new(quorum::view(self.joined()?).await))
    }

    async fn recover_quorum(
        &self,
        request: Request<v1::RecoverQuorumRequest>,
    ) -> Result<Response<v1::RecoverQuorumReply>, Status> {
        let reply = quorum::recover(self.joined()?, request.into_inner()).await?;
        Ok(Response::new(reply))
    }
}
