//! From a peer list to a member of a cluster: asks, is asked, binds. What is next is decided by
//! [`pgha_core::formation::next`].

mod answer;
mod bind;
mod bring;
mod generation;
mod run;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use pgha_core::formation::{Hello, Standing};
use pgha_core::{Generation, MemberName, SystemIdentifier};
use pgha_raft::Store;
use tokio::sync::watch;

use crate::config::Config;

pub(crate) use run::{Entry, Outcome};
pub(crate) use wire::{member, wire_addresses};

/// What this member is before, and while, it becomes one.
pub(crate) struct Formation {
    config: Arc<Config>,
    store: Store,
    damaged: bool,
    /// The generation that ruled an earlier store of this member out; 0 for none.
    ruled_out: Generation,
    /// The data directory carries a cluster's mark.
    marked: bool,
    system_identifier: Option<SystemIdentifier>,
    /// No Form is taken once Raft runs.
    started: watch::Sender<bool>,
}

impl Formation {
    pub(crate) fn new(
        config: Arc<Config>,
        store: Store,
        damaged: bool,
        ruled_out: Generation,
        marked: bool,
        system_identifier: Option<SystemIdentifier>,
    ) -> Self {
        let started = watch::Sender::new(false);
        Self {
            config,
            store,
            damaged,
            ruled_out,
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

    /// The generation that this member is of, or was told of.
    fn generation(&self) -> Generation {
        let bound = self.store.binding().map(|binding| binding.generation);
        bound.unwrap_or_default().max(self.ruled_out)
    }

    fn me(&self) -> Hello {
        Hello {
            cluster: self.config.cluster.clone(),
            name: self.config.name.clone(),
            store_id: self.store.store_id(),
            peers: self.peers(),
            standing: self.standing(false),
            generation: self.generation(),
            system_identifier: self.system_identifier,
        }
    }
}
