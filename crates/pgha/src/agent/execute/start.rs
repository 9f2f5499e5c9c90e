//! Starts PostgreSQL, as a standby or as the primary of an epoch, and watches it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pgha_core::Epoch;
use pgha_core::decide::Tree;
use pgha_guard::{Order, StartRole, clock};
use tokio::sync::mpsc;

use super::order;
use crate::agent::{Agent, Event};
use crate::server::{Prober, StartAs};

impl Agent {
    pub(super) fn start(&mut self, role: StartAs) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.local.starting || self.busy.guard || !matches!(self.local.tree, Tree::Empty) {
            return;
        }
        if self.local.replacing().is_some() {
            return;
        }
        let Some(guard) = self.guard() else { return };
        let Some(start_role) = self.take_role(&role) else {
            return;
        };
        // How far an earlier life of this data came says nothing of the next one.
        self.parts.shared.flush_lsn.store(0, Ordering::Release);
        self.watch_postgres();
        let events = self.events.0.clone();
        tokio::spawn(async move {
            let order = |start| Ok(guard.send(&Order::Start(start))?);
            if let Err(error) = worker.start(&role, start_role, order).await {
                let _ = events.send(Event::StartFailed(format!("{error:#}")));
            }
        });
    }

    /// Notes what is about to run. None where the epoch's secret is already with a guard.
    fn take_role(&mut self, role: &StartAs) -> Option<StartRole> {
        let now = clock::now();
        match role {
            StartAs::Standby { pinned, upstream } => {
                self.local.starts(Tree::Standby {
                    since: now,
                    pinned: *pinned,
                });
                if let Some(upstream) = upstream {
                    self.local.follows(upstream.clone(), now);
                }
                Some(StartRole::Standby {
                    epoch: self.local.adopted,
                })
            }
            StartAs::Primary => {
                let epoch = self.local.lease.epoch;
                let secret = self.secrets.hand_over(epoch)?;
                self.local.starts(Tree::Primary { epoch, since: now });
                Some(StartRole::Primary {
                    epoch,
                    secret,
                    route: self.route(&self.state.borrow()),
                })
            }
        }
    }

    fn watch_postgres(&mut self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        let (reports, mut inbox) = mpsc::unbounded_channel();
        let events = self.events.0.clone();
        let interval = self.state.borrow().state.settings.lease().renew_interval();
        self.prober = Some(Prober::start(
            worker.site(),
            Arc::clone(&self.parts.shared),
            interval,
            reports,
        ));
        tokio::spawn(async move {
            while let Some(report) = inbox.recv().await {
                if events.send(Event::Probe(report)).is_err() {
                    return;
                }
            }
        });
    }

    pub(super) fn assume(&mut self, epoch: Epoch) {
        if self.busy.assuming == Some(epoch) || self.local.starting {
            return;
        }
        let Some(guard) = self.guard.clone() else {
            return;
        };
        let Some(secret) = self.secrets.hand_over(epoch) else {
            return;
        };
        self.set_deadline(&guard);
        let route = self.route(&self.state.borrow().clone());
        self.busy.assuming = Some(epoch);
        order(
            &guard,
            &Order::Assume {
                epoch,
                secret,
                route,
            },
        );
    }
}
