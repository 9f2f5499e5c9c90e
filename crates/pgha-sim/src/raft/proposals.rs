//! Commands on their way into the log, and what each means once it is there.

use pgha_core::invariant;
use pgha_core::{Command, StartKind};

use super::Entry;
use crate::event::{Event, NodeEvent, Proposal};
use crate::mutant::Mutant;
use crate::world::World;

const PROPOSAL_MAX: std::time::Duration = std::time::Duration::from_secs(2);

impl World {
    /// A member that leads proposes.
    pub fn propose(&mut self, node: usize, command: Command) {
        let now = self.nodes[node].now(self.now);
        let number = self.fresh_id();
        let forgets = self.is(Mutant::LossForgotten);
        let term = self.nodes[node].disk.term;
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        if forgets && matches!(command, Command::Lost { .. }) {
            return;
        }
        let under_way = sidecar.raft.proposal;
        if under_way.is_some_and(|(_, at)| now.since(at) < PROPOSAL_MAX) {
            return;
        }
        sidecar.raft.proposal = Some((number, now));
        let nonce = sidecar.me.nonce;
        if matches!(command, Command::Revoke(_)) {
            sidecar.since.proposed = Some(now);
        }
        if let Command::Primary(primary) = &command {
            self.notes_election(node, primary);
        }
        let delay = self.span(1, 15);
        let proposal = Proposal {
            by: node,
            nonce,
            number,
            term,
            command,
            tries: 0,
        };
        self.queue.push(self.now + delay, Event::Commit(proposal));
    }

    /// The moment at which a proposal reaches a quorum, if it does.
    pub fn commit(&mut self, mut proposal: Proposal) {
        let by = proposal.by;
        let leads = self.raft.term == proposal.term
            && self.raft.leader == Some(by)
            && self.nonce(by) == Some(proposal.nonce);
        // A membership that is not committed yet comes before it in the log.
        let next = self.nodes[by].disk.tail.is_none();
        if leads && next && self.has_stored_quorum(by) {
            self.append(by, Entry::Command(proposal.command));
            self.send_beats(by);
            self.apply_soon(by);
            if !self.fault_chance(5) {
                let delay = self.span(0, 5);
                let known = NodeEvent::Proposed(proposal.nonce, proposal.number);
                self.sidecar_in(by, delay, known);
            }
        } else if leads && proposal.tries < 8 {
            proposal.tries += 1;
            let delay = self.span(20, 200);
            self.queue.push(self.now + delay, Event::Commit(proposal));
        } else {
            self.count("proposal without quorum");
            self.raft.limbo.push(proposal.command);
        }
    }

    /// An entry is in the log for good.
    pub(super) fn committed(&mut self, index: usize) {
        let command = match &self.raft.log[index - 1] {
            Entry::Command(command) => command.clone(),
            Entry::Voters(membership) => {
                let sets = membership.sets.clone();
                for voters in &sets {
                    let checked = invariant::quorum(&self.truth, voters);
                    self.check(checked);
                }
                return self.trace(None, || format!("committed {index}: voters {sets:?}"));
            }
        };
        let before = self.truth.clone();
        let result = self.truth.apply(index as u64, &command);
        self.trace(None, || match &result {
            Ok(()) => format!("committed {index}: {command:?}"),
            Err(refusal) => format!("committed {index}, refused ({refusal}): {command:?}"),
        });
        self.chronicle_commit(&command, result.as_ref().err());
        if let Err(refusal) = result {
            let text = format!("{refusal:?}");
            let word = text.split([' ', '(']).next().unwrap_or_default();
            self.count(&format!("refusal {word}"));
            return;
        }
        let checked = invariant::order(&before, &self.truth);
        self.check(checked);
        if let Command::Primary(primary) = &command {
            self.count(&format!("primary by {:?}", primary.kind));
            self.check_election(primary, &before);
            self.notes_promotion(primary);
            if primary.kind == StartKind::Promotion {
                self.twin_of(&primary.node);
            }
        }
        if matches!(command, Command::Opened(_)) {
            self.line_moves();
        }
        if let Command::Revoke(revoke) = &command {
            self.count(&format!("revoke {}", revoke.cause.code()));
            self.check_role_kept();
        }
    }

    /// The outcome of a proposal is known to whom it concerns.
    pub fn proposed(&mut self, node: usize, number: u64) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar
            && sidecar.raft.proposal.is_some_and(|(own, _)| own == number)
        {
            sidecar.raft.proposal = None;
            self.dirty(node);
        }
    }
}
