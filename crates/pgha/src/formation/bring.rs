//! Brings others, or this member itself, into a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use pgha_core::{ClusterId, MemberName};
use pgha_proto::v1;
use pgha_raft::Binding;

use super::Formation;
use super::wire::{formed, wire_addresses};
use crate::rejoin;

const FORM_MAX: Duration = Duration::from_secs(3);

impl Formation {
    /// Binds this member first, then everybody else, to one cluster.
    pub(super) async fn form(
        &self,
        cluster_id: Option<ClusterId>,
        replies: &BTreeMap<MemberName, Option<v1::HelloReply>>,
    ) -> anyhow::Result<()> {
        let cluster_id =
            cluster_id.unwrap_or_else(|| ClusterId(format!("{:032x}", rand::random::<u128>())));
        let mut members: Vec<v1::FormMember> = Vec::new();
        for (index, (name, address)) in self.peers().iter().enumerate() {
            let raft_id = u64::try_from(index)? + 1;
            let own = self.hello_reply(false);
            let reply = if *name == self.config.name {
                &own
            } else {
                replies
                    .get(name)
                    .and_then(Option::as_ref)
                    .with_context(|| format!("{name} at {address} has not answered"))?
            };
            members.push(v1::FormMember {
                name: name.0.clone(),
                raft_id,
                store_id: reply.store_id.clone(),
                address: address.clone(),
                witness: reply.witness,
                addresses: reply.addresses.clone(),
            });
        }
        let request = v1::FormRequest {
            cluster: self.config.cluster.clone(),
            cluster_id: cluster_id.0.clone(),
            members,
        };
        self.bind(&request).await?;
        tracing::info!(%cluster_id, "forming the cluster");
        // Everybody is asked: one who does not answer in time must not keep the others out.
        let others = self.peers().into_iter();
        let others = others.filter(|(name, _)| *name != self.config.name);
        let asked = others.map(|(name, address)| {
            let request = request.clone();
            async move { form_peer(&name, &address, request).await }
        });
        join_all(asked).await.into_iter().collect()
    }

    pub(super) async fn rejoin(&self, address: &str, cluster_id: ClusterId) -> anyhow::Result<()> {
        let member = v1::FormMember {
            name: self.config.name.0.clone(),
            raft_id: 0,
            store_id: self.store.store_id().0,
            address: self.config.addresses().raft,
            witness: self.config.witness,
            addresses: Some(wire_addresses(&self.config.addresses())),
        };
        let (raft_id, generation) =
            rejoin::ask(address, &cluster_id, self.ruled_out, member.clone()).await?;
        tracing::info!(%cluster_id, %raft_id, "taken back under a new raft id");
        let mut mine = formed(&member);
        mine.raft_id = raft_id;
        let binding = Binding {
            cluster: self.config.cluster.clone(),
            cluster_id,
            generation,
            raft_id,
            members: vec![mine],
        };
        self.store.bind(binding).await?;
        Ok(())
    }
}

async fn form_peer(
    name: &MemberName,
    address: &str,
    request: v1::FormRequest,
) -> anyhow::Result<()> {
    let channel = crate::net::channel(address)
        .with_context(|| format!("{name} cannot be reached: {address} is no host:port"))?;
    let mut client = v1::member_client::MemberClient::new(channel);
    let reply = tokio::time::timeout(FORM_MAX, client.form(request))
        .await
        .with_context(|| format!("{name} at {address} does not answer within {FORM_MAX:?}"))?
        .with_context(|| format!("{name} at {address} does not answer"))?
        .into_inner();
    if !reply.accepted {
        bail!("{name} does not join: {}", reply.reason);
    }
    Ok(())
}
