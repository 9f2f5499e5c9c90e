//! What the settings and the members mean for files of this node.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use pgha_core::ClusterState;
use pgha_core::decide::Tree;
use pgha_raft::StateView;

use super::{Agent, Event};

/// What PostgreSQL or the disk refused is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

impl Agent {
    pub(super) fn take_over_settings(&mut self, view: &StateView) {
        let applied = view.applied_index();
        let again = self.seen.members == 0 || self.seen.parameters == 0;
        if !view.state.is_created() || (self.seen.applied == applied && !again) {
            return;
        }
        self.seen.applied = applied;
        let members = hash(&format!("{:?}", view.state.members));
        if self.seen.members != members {
            self.seen.members = members;
            self.parts.peers.follow_members(&view.state);
            self.write_access(&view.state);
            self.reroute_guard(view);
        }
        let parameters = hash(&format!("{:?}", view.state.settings));
        if self.seen.parameters != parameters {
            self.seen.parameters = parameters;
            self.parts.holder.set_timing(view.state.settings.lease());
            self.apply_parameters(&view.state);
        }
    }

    fn write_access(&self, state: &ClusterState) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        match worker.site().write_access(state) {
            // A reload reads it as well.
            Ok(true) => self.apply_parameters(state),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "pg_hba.conf cannot be written");
                let events = self.events.0.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    let _ = events.send(Event::WriteAccess);
                });
            }
        }
    }

    fn apply_parameters(&self, state: &ClusterState) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        let state = state.clone();
        let running = matches!(self.local.tree, Tree::Standby { .. } | Tree::Primary { .. });
        let events = self.events.0.clone();
        tokio::spawn(async move {
            let mut desk = worker.desk().await;
            desk.set_parameters(&state);
            if !running {
                return;
            }
            let outcome = desk.reload().await;
            // Nobody is to wait for the desk during the pause.
            drop(desk);
            match outcome {
                Ok(pending) => drop(events.send(Event::Reloaded(pending))),
                Err(error) => {
                    tracing::warn!(%error, "PostgreSQL has not reloaded its settings and access rules");
                    tokio::time::sleep(AGAIN).await;
                    let _ = events.send(Event::ApplyParameters);
                }
            }
        });
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    // 0 is what nothing has been seen as.
    hasher.finish() | 1
}
