//! Renewals on their way to the voters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::lease::Renewal;
use pgha_core::{Lsn, Mono, RaftId};
use pgha_proto::{Parties, v1};
use pgha_raft::Peer;
use tokio::sync::mpsc;

use super::run::Run;
use crate::lease::electorate::MembershipId;
use crate::lease::stream::{Given, GrantorStream, SENDS_MAX};

impl Run {
    /// Sends one renewal to every grantor; says how long until the next. A lease must not keep a
    /// useless primary: nothing is sent while the agent stands still or PostgreSQL hangs.
    pub(super) fn renew(&mut self, now: Mono) -> Option<Duration> {
        let shared = &self.thread.shared;
        let lease = self.lease.as_mut()?;
        let interval = lease.holder.timing().renew_interval();
        let stamp = Mono::from_nanos(shared.agent_stamp.load(Ordering::Acquire));
        if now.since(stamp) > self.thread.agent_stall || shared.hung.load(Ordering::Acquire) {
            return Some(interval);
        }
        let members = self.electorate.peers.keys().copied();
        let asked = lease.holder.asks(members, now);
        let send = lease.holder.send(now)?;
        let renewal = Renewal {
            epoch: lease.holder.epoch(),
            nonce: lease.holder.nonce(),
            timing: lease.holder.timing(),
            start_wait: self.changes.start_wait(),
            release_hash: lease.release_hash,
            flush_lsn: Lsn(shared.flush_lsn.load(Ordering::Acquire)),
            membership: self.electorate.membership,
            adopted: *self.adopted.borrow(),
            held: lease.holder.is_held(now),
        };
        for by in asked {
            if by == self.thread.raft_id {
                self.ask_self(send, renewal.clone());
            } else if let Some((_, stream)) = self.streams.get(&by) {
                let _ = stream.try_send(self.request(by, send, &renewal));
            }
        }
        Some(interval)
    }

    fn ask_self(&self, send: u64, renewal: Renewal<MembershipId>) {
        let grants = Arc::clone(&self.thread.grants);
        let answers = self.answers.0.clone();
        let by = self.thread.raft_id;
        tokio::spawn(async move {
            let granted = matches!(grants.renew(&renewal).await, Ok(Ok(())));
            let adopted = grants.adopted();
            let _ = answers.send(Given {
                by,
                send,
                epoch: renewal.epoch,
                granted,
                adopted,
            });
        });
    }

    fn request(&self, to: RaftId, send: u64, renewal: &Renewal<MembershipId>) -> v1::RenewRequest {
        let (term, leader_raft_id, index) = renewal.membership;
        // Not the store of somebody who has taken over the address.
        let store = self.electorate.peers.get(&to).map(|peer| &peer.store_id);
        v1::RenewRequest {
            identity: Some(v1::Identity::from(&Parties {
                cluster_id: self.thread.cluster_id.clone(),
                generation: self.thread.generation,
                from: self.thread.raft_id,
                from_store: self.thread.store_id.clone(),
                to,
                to_store: store.filter(|id| !id.0.is_empty()).cloned(),
            })),
            epoch: renewal.epoch.0,
            nonce: renewal.nonce.0,
            send,
            lease_ms: u32::try_from(renewal.timing.lease_ms()).unwrap_or(u32::MAX),
            release_hash: renewal.release_hash.to_vec(),
            flush_lsn: renewal.flush_lsn.0,
            membership: Some(v1::LogId {
                term,
                leader_raft_id,
                index,
            }),
            adopted_epoch: renewal.adopted.0,
            holder: self.thread.name.0.clone(),
            start_wait_us: u64::try_from(renewal.start_wait.as_micros()).unwrap_or(u64::MAX),
            held: renewal.held,
        }
    }

    /// Keeps one stream to each voter that this member may have to ask.
    pub(super) fn connect(&mut self) {
        let wanted = &self.electorate.peers;
        self.streams.retain(|id, (address, _)| {
            let peer = wanted.get(id);
            peer.is_some_and(|peer| peer.address == *address)
        });
        for (id, Peer { address, .. }) in wanted {
            if *id == self.thread.raft_id || self.streams.contains_key(id) {
                continue;
            }
            let (sender, receiver) = mpsc::channel(SENDS_MAX);
            let stream = GrantorStream {
                by: *id,
                address: address.clone(),
                answers: self.answers.0.clone(),
                shared: Arc::clone(&self.thread.shared),
            };
            tokio::spawn(stream.run(receiver));
            self.streams.insert(*id, (address.clone(), sender));
        }
    }
}
