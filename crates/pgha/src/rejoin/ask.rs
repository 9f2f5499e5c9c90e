//! What the member does that comes back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use pgha_core::{ClusterId, Generation, RaftId, Reason};
use pgha_proto::v1;

use super::Refusal;

const TAKEN_MAX: Duration = Duration::from_secs(8);
const HOPS_MAX: u32 = 3;

/// Asks the cluster, at this address and then at its leader's, for a place in a generation that is
/// not over: `told_of` is the one that this member was told of.
pub(crate) async fn ask(
    address: &str,
    cluster_id: &ClusterId,
    told_of: Generation,
    member: v1::FormMember,
) -> anyhow::Result<(RaftId, Generation)> {
    let mut address = address.to_owned();
    for _ in 0..HOPS_MAX {
        let channel = crate::net::channel(&address).context("no address")?;
        let mut client = v1::member_client::MemberClient::new(channel);
        let request = v1::RejoinRequest {
            cluster_id: cluster_id.0.clone(),
            member: Some(member.clone()),
        };
        let reply = tokio::time::timeout(TAKEN_MAX, client.rejoin(request))
            .await??
            .into_inner();
        if reply.accepted && reply.generation < told_of.0 {
            let text = format!(
                "{address} is of generation {}, this member was told of generation {told_of}",
                reply.generation
            );
            return Err(Refusal::error(Reason::RuledOut, text));
        }
        if reply.accepted {
            return Ok((RaftId(reply.raft_id), Generation(reply.generation)));
        }
        if reply.leader_address.is_empty() || reply.leader_address == address {
            return Err(Refusal::told(&reply));
        }
        address = reply.leader_address;
    }
    bail!("the Raft leadership moves too fast")
}
