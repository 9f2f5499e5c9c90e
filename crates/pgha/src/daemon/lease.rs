//! Both sides of the lease: this member's promises to others, and the thread that holds its own.

use std::sync::Arc;

use anyhow::Context as _;
use pgha_raft::Store;

use super::Process;
use super::front::Front;
use super::group::Group;
use crate::lease::{ElectorateWatch, Grants, HolderHandle, HolderThread, LeaseService};
use crate::wake::Wake;

/// The two sides.
pub(super) struct Lease {
    pub(super) grants: Arc<Grants>,
    pub(super) holder: HolderHandle,
}

impl Lease {
    /// Answers renewals, and is ready to send them.
    pub(super) fn start(
        process: &Process,
        store: &Store,
        group: &Group,
        front: &Front,
        wake: &Wake,
    ) -> anyhow::Result<Self> {
        let binding = &group.binding;
        let electorate = ElectorateWatch::new(store, group.raft.state());
        let grants = Grants::new(
            store.clone(),
            electorate.clone(),
            process.started,
            wake.clone(),
        );
        let grants = Arc::new(grants);
        let _ = front.lease.0.set(LeaseService {
            grants: Arc::clone(&grants),
            electorate: electorate.clone(),
            raft: Arc::clone(&group.raft),
        });
        let thread = HolderThread {
            name: process.config.name.clone(),
            nonce: process.nonce,
            raft_id: binding.raft_id,
            store_id: store.store_id(),
            cluster_id: binding.cluster_id.clone(),
            generation: binding.generation,
            agent_stall: process.config.agent_stall,
            electorate,
            grants: Arc::clone(&grants),
            gate: Arc::clone(&front.gate),
            shared: Arc::clone(&front.holder),
            wake: wake.clone(),
        };
        let holder = thread.start().context("no thread for the lease")?;
        Ok(Self { grants, holder })
    }
}
