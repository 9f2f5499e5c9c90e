//! What a run was about, in words that do not change with every drawn delay.

use pgha_core::Command;
use pgha_core::decide::Why;
use pgha_core::state::Refusal;

use crate::world::World;

impl World {
    /// Notes what happened on a node.
    pub(crate) fn chronicle(&mut self, node: usize, text: impl FnOnce() -> String) {
        let name = self.nodes[node].name.to_string();
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.push(format!("{name}: {}", text()));
        }
    }

    pub(crate) fn chronicle_commit(&mut self, command: &Command, refusal: Option<&Refusal>) {
        let Some(chronicle) = &mut self.chronicle else {
            return;
        };
        let text = match command {
            Command::Create(_) => return,
            // Under another raft id: with the old one's votes and promises nobody speaks again.
            Command::PutMember {
                name,
                replaces: Some(old),
                member,
            } => format!("{name} has raft id {} in place of {old}", member.raft_id),
            Command::PutMember { .. } => return,
            Command::Bootstrap { node, .. } => format!("{node} makes the first data directory"),
            Command::Revoke(revoke) => {
                format!("epoch {} is revoked: {}", revoke.expected, revoke.cause)
            }
            Command::Primary(primary) => format!(
                "{} is primary of epoch {} by {}, timeline {}",
                primary.node,
                primary.epoch,
                format!("{:?}", primary.kind).to_lowercase(),
                primary.timeline,
            ),
            Command::Opened(opened) => {
                format!(
                    "epoch {} is open on timeline {}",
                    opened.epoch, opened.timeline
                )
            }
            Command::Handover { epoch, target, .. } => {
                let target = target
                    .as_ref()
                    .map_or("the best replica", |name| name.as_str());
                format!("epoch {epoch} is to be handed over to {target}")
            }
            Command::HandoverEnd { epoch, why } => {
                format!("epoch {epoch} is not handed over: {why}")
            }
            Command::SetSettings { set, .. } => format!("settings change: {set:?}"),
            Command::Recover(recover) => format!(
                "{} goes on alone in generation {}",
                recover.survivor, recover.generation
            ),
            Command::Lost { epoch, .. } => format!("what epoch {epoch} does without is journaled"),
        };
        chronicle.push(match refusal {
            None => text,
            Some(refusal) => format!("refused, {refusal}: {text}"),
        });
    }

    /// Notes what a member says of itself and of the cluster, where that is news.
    pub(crate) fn chronicle_why(&mut self, node: usize, before: &Why) {
        let Some(sidecar) = &self.nodes[node].sidecar else {
            return;
        };
        let now = sidecar.why.clone();
        if (now.state, now.reason) != (before.state, before.reason) {
            let reason = now
                .reason
                .map_or_else(String::new, |reason| format!(" ({})", reason.code()));
            self.chronicle(node, || format!("{}{reason}", now.state));
        }
        let about = |why: &Why| why.cluster.as_ref().map(|(reason, _)| *reason);
        if let (Some(reason), true) = (about(&now), about(&now) != about(before)) {
            self.chronicle(node, || format!("the cluster waits ({})", reason.code()));
        }
    }
}
