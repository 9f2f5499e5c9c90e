//! From a peer list to a member of a cluster: asks, is asked, binds. What is next is decided by
//! [`pgha_core::formation::next`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use pgha_core::formation::{Hello, Next, Standing, next};
use pgha_core::{
    Addresses, ClusterId, Generation, Member, MemberKind, MemberName, Nonce, RaftId, Reason,
    StoreId, SystemIdentifier,
};
use pgha_proto::v1;
use pgha_raft::{Binding, FormedMember, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::Config;
use crate::rejoin;
use crate::services;

const ASK_PAUSE: Duration = Duration::from_millis(150);
const FORM_MAX: Duration = Duration::from_secs(3);
/// The members as the formation listed them, for the cluster's first entry.
const NOTE_FILE: &str = "formation.json";

/// What this member is before, and while, it becomes one.
pub(crate) struct Formation {
    config: Arc<Config>,
    store: Store,
    nonce: Nonce,
    damaged: bool,
    /// The data directory carries a cluster's mark.
    marked: bool,
    system_identifier: Option<SystemIdentifier>,
    /// No Form is taken once Raft runs.
    started: watch::Sender<bool>,
}

/// How this member takes part from now on.
pub(crate) struct Outcome {
    /// Whether it writes the first entry.
    pub(crate) initialize: bool,
}

#[derive(Serialize, Deserialize)]
struct Note {
    members: BTreeMap<MemberName, Member>,
}

impl Formation {
    pub(crate) fn new(
        config: Arc<Config>,
        store: Store,
        nonce: Nonce,
        damaged: bool,
        marked: bool,
        system_identifier: Option<SystemIdentifier>,
    ) -> Self {
        let started = watch::Sender::new(false);
        Self {
            config,
            store,
            nonce,
            damaged,
            marked,
            system_identifier,
            started,
        }
    }

    fn peers(&self) -> BTreeMap<MemberName, String> {
        let mut peers: BTreeMap<MemberName, String> = self
            .config
            .peers
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect();
        if peers.is_empty() {
            peers.insert(self.config.name.clone(), self.config.addresses().raft);
        }
        peers
    }

    fn standing(&self, confirmed: bool) -> Standing {
        match self.store.binding() {
            Some(binding) if self.store.has_committed() => Standing::Member {
                cluster_id: binding.cluster_id,
                confirmed,
            },
            Some(binding) => Standing::Bound(binding.cluster_id),
            None if self.damaged => Standing::Damaged,
            None if self.marked => Standing::Lost,
            None => Standing::Nothing,
        }
    }

    fn me(&self) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            name: self.config.name.clone(),
            store_id: self.store.store_id(),
            nonce: self.nonce,
            peers: self.peers(),
            standing: self.standing(false),
            system_identifier: self.system_identifier,
        }
    }

    /// This member's answer to a Hello.
    pub(crate) fn hello_reply(&self, confirmed: bool) -> v1::HelloReply {
        use v1::hello_reply::State;
        let me = self.me();
        let binding = self.store.binding();
        let state = match self.standing(confirmed) {
            Standing::Nothing => State::Nothing,
            Standing::Bound(_) => State::Bound,
            Standing::Member { .. } => State::Member,
            Standing::Damaged => State::Damaged,
            Standing::Lost => State::Lost,
        };
        v1::HelloReply {
            cluster: me.cluster,
            name: me.name.0,
            store_id: me.store_id.0,
            peers: wire_peers(&me.peers),
            state: state.into(),
            cluster_id: binding
                .as_ref()
                .map(|b| b.cluster_id.0.clone())
                .unwrap_or_default(),
            generation: binding.as_ref().map_or(0, |b| b.generation.0),
            raft_id: binding.as_ref().map_or(0, |b| b.raft_id.0),
            quorum_confirmed: confirmed,
            leader_address: String::new(),
            data_directory: Some(v1::DataDirectory {
                system_identifier: self.system_identifier.map_or(0, |id| id.0),
                ..v1::DataDirectory::default()
            }),
            witness: self.config.witness,
            addresses: Some(wire_addresses(&self.config.addresses())),
            detail: String::new(),
        }
    }

    /// Takes a Form: persisted before it is answered.
    pub(crate) async fn accept(&self, request: v1::FormRequest) -> Result<(), String> {
        if *self.started.borrow() {
            return Err("this member takes part in a cluster already".to_owned());
        }
        let cluster_id = ClusterId(request.cluster_id.clone());
        match self.standing(false) {
            Standing::Nothing => {}
            Standing::Bound(bound) if bound == cluster_id => {}
            other => return Err(format!("this member is {other:?}")),
        }
        if request.cluster != self.config.cluster {
            return Err(format!(
                "this member is for cluster {:?}",
                self.config.cluster
            ));
        }
        let peers = self.peers();
        let listed: BTreeMap<MemberName, String> = request
            .members
            .iter()
            .map(|member| (MemberName(member.name.clone()), member.address.clone()))
            .collect();
        if listed != peers {
            return Err("the list is not this member's peer list".to_owned());
        }
        self.bind(&request)
            .await
            .map_err(|error| format!("{error:#}"))
    }

    async fn bind(&self, request: &v1::FormRequest) -> anyhow::Result<()> {
        let mine = request
            .members
            .iter()
            .find(|member| member.name == self.config.name.as_str())
            .context("this member is not on the list")?;
        if mine.store_id != self.store.store_id().0 {
            bail!(
                "the list has store {} for this member, it is {}",
                mine.store_id,
                self.store.store_id()
            );
        }
        let note = Note {
            members: request
                .members
                .iter()
                .map(|m| (m.name.as_str().into(), member(m)))
                .collect(),
        };
        let text = serde_json::to_vec(&note)?;
        tokio::fs::write(self.note_path(), text).await?;
        let binding = Binding {
            cluster: request.cluster.clone(),
            cluster_id: ClusterId(request.cluster_id.clone()),
            generation: Generation(1),
            raft_id: RaftId(mine.raft_id),
            members: request.members.iter().map(formed).collect(),
        };
        if self.store.binding().as_ref() != Some(&binding) {
            self.store.bind(binding).await?;
        }
        Ok(())
    }

    fn note_path(&self) -> PathBuf {
        self.config.data_dir.join(NOTE_FILE)
    }

    /// The members as the formation listed them.
    pub(crate) fn listed_members(&self) -> Option<BTreeMap<MemberName, Member>> {
        let text = std::fs::read(self.note_path()).ok()?;
        serde_json::from_slice::<Note>(&text)
            .ok()
            .map(|note| note.members)
    }

    /// Runs until this member belongs to a cluster.
    pub(crate) async fn run(
        &self,
        waiting: &watch::Sender<(Reason, String)>,
    ) -> anyhow::Result<Outcome> {
        if self.store.has_committed() {
            self.started.send_replace(true);
            return Ok(Outcome { initialize: false });
        }
        loop {
            let me = self.me();
            let request = v1::HelloRequest {
                cluster: me.cluster.clone(),
                from_name: me.name.0.clone(),
                from_store_id: me.store_id.0.clone(),
                peers: wire_peers(&me.peers),
            };
            // This member's own address too: it may lead to somebody else.
            let mut replies = services::ask_peers(&me.peers, &request).await;
            let own = replies.remove(&me.name).flatten().as_ref().map(hello);
            let answers = replies
                .iter()
                .map(|(name, reply)| (name.clone(), reply.as_ref().map(hello)));
            match next(&me, own.as_ref(), &answers.collect()) {
                Next::Wait(reason, text) => self.wait(waiting, reason, text).await,
                Next::Form(cluster_id) => {
                    if let Err(error) = self.form(cluster_id, &replies).await {
                        self.wait(waiting, Reason::Forming, format!("{error:#}"))
                            .await;
                    }
                }
                Next::Start { initialize } => {
                    self.started.send_replace(true);
                    return Ok(Outcome { initialize });
                }
                Next::Rejoin { via, cluster_id } => {
                    let address = me.peers.get(&via).context("an unknown member")?;
                    match self.rejoin(address, cluster_id).await {
                        Ok(()) => {
                            self.started.send_replace(true);
                            return Ok(Outcome { initialize: false });
                        }
                        Err(error) => {
                            let text = format!("{via} does not take this member: {error:#}");
                            let reason = error
                                .downcast_ref::<rejoin::Refusal>()
                                .map_or(Reason::StoreDamaged, |refusal| refusal.reason);
                            self.wait(waiting, reason, text).await;
                        }
                    }
                }
                Next::Unbind => {
                    tracing::warn!("the formation that bound this member was lost: begun again");
                    self.store.unbind().await?;
                }
            }
        }
    }

    async fn wait(&self, waiting: &watch::Sender<(Reason, String)>, reason: Reason, text: String) {
        waiting.send_if_modified(|current| {
            let news = current.0 != reason || current.1 != text;
            if news {
                tracing::info!(%reason, text, "waiting: {}", reason.sentence());
                *current = (reason, text.clone());
            }
            news
        });
        tokio::time::sleep(ASK_PAUSE).await;
    }

    /// Binds this member first, then everybody else, to one cluster.
    async fn form(
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
                    .context("a peer is missing")?
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
        for (name, address) in self.peers() {
            if name != self.config.name {
                form_peer(&name, &address, request.clone()).await?;
            }
        }
        Ok(())
    }

    async fn rejoin(&self, address: &str, cluster_id: ClusterId) -> anyhow::Result<()> {
        let member = v1::FormMember {
            name: self.config.name.0.clone(),
            raft_id: 0,
            store_id: self.store.store_id().0,
            address: self.config.addresses().raft,
            witness: self.config.witness,
            addresses: Some(wire_addresses(&self.config.addresses())),
        };
        let (raft_id, generation) = rejoin::ask(address, &cluster_id, member.clone()).await?;
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
    let channel = crate::net::channel(address).context("no address")?;
    let mut client = v1::member_client::MemberClient::new(channel);
    let reply = tokio::time::timeout(FORM_MAX, client.form(request))
        .await??
        .into_inner();
    if !reply.accepted {
        bail!("{name} does not join: {}", reply.reason);
    }
    Ok(())
}

fn hello(reply: &v1::HelloReply) -> Hello {
    use v1::hello_reply::State;
    let cluster_id = ClusterId(reply.cluster_id.clone());
    let identifier = reply
        .data_directory
        .as_ref()
        .map_or(0, |d| d.system_identifier);
    Hello {
        cluster: reply.cluster.clone(),
        name: reply.name.as_str().into(),
        store_id: StoreId(reply.store_id.clone()),
        nonce: Nonce(0),
        peers: reply
            .peers
            .iter()
            .map(|p| (p.name.as_str().into(), p.address.clone()))
            .collect(),
        standing: match reply.state() {
            State::Nothing => Standing::Nothing,
            State::Bound => Standing::Bound(cluster_id),
            State::Member => Standing::Member {
                cluster_id,
                confirmed: reply.quorum_confirmed,
            },
            State::Damaged | State::Unspecified => Standing::Damaged,
            State::Lost => Standing::Lost,
        },
        system_identifier: (identifier != 0).then_some(SystemIdentifier(identifier)),
    }
}

fn wire_peers(peers: &BTreeMap<MemberName, String>) -> Vec<v1::PeerAddress> {
    let peer = |(name, address): (&MemberName, &String)| v1::PeerAddress {
        name: name.0.clone(),
        address: address.clone(),
    };
    peers.iter().map(peer).collect()
}

/// Addresses for the wire.
pub(crate) fn wire_addresses(addresses: &Addresses) -> v1::Addresses {
    v1::Addresses {
        raft: addresses.raft.clone(),
        postgres: addresses.postgres.clone(),
        http: addresses.http.clone(),
        proxy_read_write: addresses.proxy_read_write.clone(),
        proxy_read_only: addresses.proxy_read_only.clone(),
    }
}

/// A listed member as the cluster will know it.
pub(crate) fn member(listed: &v1::FormMember) -> Member {
    let addresses = listed.addresses.clone().unwrap_or_default();
    Member::new(
        if listed.witness {
            MemberKind::Witness
        } else {
            MemberKind::Data
        },
        RaftId(listed.raft_id),
        StoreId(listed.store_id.clone()),
        Addresses {
            raft: listed.address.clone(),
            postgres: addresses.postgres,
            http: addresses.http,
            proxy_read_write: addresses.proxy_read_write,
            proxy_read_only: addresses.proxy_read_only,
        },
    )
}

fn formed(listed: &v1::FormMember) -> FormedMember {
    FormedMember {
        name: listed.name.as_str().into(),
        raft_id: RaftId(listed.raft_id),
        store_id: StoreId(listed.store_id.clone()),
        address: listed.address.clone(),
        witness: listed.witness,
    }
}
