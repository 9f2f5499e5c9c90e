//! What the Raft group is asked for: commands, and another leader.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::{Command, MemberName};
use pgha_guard::clock;

use crate::agent::{Agent, Event};

const PROPOSE_MAX: Duration = Duration::from_secs(5);
const TRANSFER_MAX: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn propose(&mut self, command: &Command) {
        if std::mem::replace(&mut self.busy.proposing, true) {
            return;
        }
        if let Command::Revoke(revoke) = command {
            self.seen.proposed = Some((revoke.expected, clock::now()));
        }
        let (raft, events, command) = (
            Arc::clone(&self.parts.raft),
            self.events.0.clone(),
            command.clone(),
        );
        tokio::spawn(async move {
            tracing::debug!(?command, "proposed");
            match raft.propose(command, PROPOSE_MAX).await {
                Ok(Ok(())) => {}
                Ok(Err(refusal)) => tracing::info!(%refusal, "a proposal was refused"),
                Err(error) => tracing::warn!(%error, "a proposal has no outcome"),
            }
            let _ = events.send(Event::Proposed);
        });
    }

    pub(super) fn transfer_leadership(&mut self, name: &MemberName) {
        self.seen.transfer_tried = Some(clock::now());
        let role = self.role.borrow().clone();
        let target = role
            .members
            .iter()
            .find(|(_, peer)| peer.name == *name)
            .map(|(id, _)| *id);
        let Some(target) = target else { return };
        let (raft, name) = (Arc::clone(&self.parts.raft), name.clone());
        tokio::spawn(async move {
            match raft.transfer_leadership(target, TRANSFER_MAX).await {
                Ok(()) => tracing::info!(to = %name, "the Raft leadership was handed over"),
                Err(error) => tracing::info!(to = %name, %error, "the Raft leadership stays"),
            }
        });
    }
}
