//! Points the receiver to its upstream, and keeps the slots of those that follow this member.

use pgha_core::decide::Upstream;
use pgha_guard::clock;

use crate::agent::{Agent, Event};

impl Agent {
    pub(super) fn follow(&mut self, upstream: &Upstream) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.local.upstream.as_ref() == Some(upstream) || self.local.job.is_some() {
            return;
        }
        tracing::info!(node = %upstream.node, epoch = %upstream.epoch, slot = upstream.slot, "following");
        self.local.follows(upstream.clone(), clock::now());
        let (events, upstream) = (self.events.0.clone(), upstream.clone());
        let state = self.state.borrow().clone();
        tokio::spawn(async move {
            let mut desk = worker.desk().await;
            if let Err(error) = desk.follow(&upstream).await {
                let _ = events.send(Event::FollowFailed(upstream, format!("{error:#}")));
            }
            drop(desk);
            worker.site().mark(&state.state);
        });
        self.look_again();
    }

    pub(super) fn keep_slots(&mut self, names: &[String]) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        if self.busy.slots || self.local.job.is_some() {
            return;
        }
        self.busy.slots = true;
        let (events, names) = (self.events.0.clone(), names.to_vec());
        tokio::spawn(async move {
            let outcome = worker.desk().await.keep_slots(&names).await;
            let outcome = outcome.map_err(|error| error.to_string());
            let _ = events.send(Event::Slots(outcome));
        });
    }
}
