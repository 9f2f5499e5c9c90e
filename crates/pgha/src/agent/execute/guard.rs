//! The guard: started where there is none, told what to do and where a release goes.

use std::sync::{Arc, PoisonError};

use pgha_core::decide::Tree;
use pgha_core::lease::Hold;
use pgha_guard::{GuardHandle, GuardOptions, Order, Peer, ReleaseRoute};
use pgha_raft::StateView;

use crate::agent::{Agent, Event};

impl Agent {
    /// The guard, started where there is none.
    pub(super) fn guard(&mut self) -> Option<Arc<GuardHandle>> {
        if self.guard.is_none() {
            let site = Arc::clone(self.parts.worker.as_ref()?.site());
            let (events, number) = (self.events.0.clone(), self.guard_number);
            let on_event = move |event: pgha_guard::Event| {
                let _ = events.send(Event::Guard(number, event));
            };
            let spawned = GuardOptions::new(&site.layout.run_dir, &site.layout.data_dir)
                .map_err(anyhow::Error::from)
                .and_then(|options| Ok(GuardHandle::spawn(&options, on_event)?));
            match spawned {
                Ok(guard) => {
                    let lease = self.state.borrow().state.settings.lease().lease();
                    guard.board().set_lease(lease);
                    let mut board = self
                        .parts
                        .shared
                        .board
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    *board = Some(guard.board().clone());
                    drop(board);
                    self.set_deadline(&guard);
                    self.guard = Some(Arc::new(guard));
                }
                Err(error) => {
                    tracing::error!(%error, "the guard cannot be started");
                    self.count_start_failure(format!("{error:#}"));
                    return None;
                }
            }
        }
        self.guard.clone()
    }

    /// A new board learns the deadline at once, not at the next renewal.
    pub(super) fn set_deadline(&self, guard: &GuardHandle) {
        let view = self.parts.holder.view();
        if let Hold::Held(deadlines) = view.hold {
            guard.board().set_deadline(view.epoch, deadlines.kill);
        }
    }

    pub(super) fn route(&self, view: &StateView) -> ReleaseRoute {
        ReleaseRoute {
            cluster_id: view.state.cluster_id.clone(),
            generation: view.state.generation,
            holder: self.site_name().clone(),
            peers: view
                .state
                .members
                .iter()
                .map(|(name, member)| Peer {
                    name: name.clone(),
                    address: member.addresses.raft.clone(),
                })
                .collect(),
        }
    }

    pub(in crate::agent) fn reroute_guard(&self, view: &StateView) {
        if let (Some(guard), Tree::Primary { epoch, .. }) = (&self.guard, &self.local.tree) {
            order(
                guard,
                &Order::Route {
                    epoch: *epoch,
                    route: self.route(view),
                },
            );
        }
    }
}

/// Sends an order; where that fails, GuardGone follows, and with it the killing of what is left.
pub(in crate::agent) fn order(guard: &GuardHandle, order: &Order) {
    if let Err(error) = guard.send(order) {
        tracing::error!(%error, "an order did not reach the guard");
    }
}
