//! The network between sidecars: delays, drops, duplicates, reorders and cuts.

use pgha_core::Generation;
use pgha_core::decide::Heard;
use pgha_core::report::MemberReport;
use rand::Rng;

use crate::event::{Message, NodeEvent};
use crate::mutant::Mutant;
use crate::time::{MS, Nanos};
use crate::world::World;

impl World {
    /// Sends `message`; what becomes of it is the network's business.
    pub fn send(&mut self, from: usize, to: usize, message: &Message) {
        if self.cut[from][to] {
            return self.count("message cut off");
        }
        if !self.nodes[to].up || self.nodes[to].sidecar.is_none() {
            return self.refuse(from, to);
        }
        let copies = if self.fault_chance(self.profile.duplicate_percent) {
            self.count("message twice");
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.fault_chance(self.profile.drop_percent) {
                self.count("message lost");
                continue;
            }
            let delay = self.transit();
            let message = Box::new(message.clone());
            let generation = self.nodes[from].disk.generation;
            self.sidecar_in(to, delay, NodeEvent::Receive(from, generation, message));
        }
    }

    /// To everybody else.
    pub fn broadcast(&mut self, from: usize, message: &Message) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            self.send(from, to, message);
        }
    }

    /// How long a message takes.
    pub fn transit(&mut self) -> Nanos {
        let usual = self.rng.random_range(MS / 10..=3 * MS);
        if self.fault_chance(self.profile.slow_percent) {
            self.count("message late");
            usual + self.span(20, self.profile.slow_ms)
        } else {
            usual
        }
    }

    /// A kernel that answers refuses a connection to a port where nobody listens.
    fn refuse(&mut self, from: usize, to: usize) {
        let kernel = self.nodes[to].up && !self.nodes[to].frozen && !self.cut[to][from];
        if let (true, Some(nonce)) = (kernel, self.nonce(from)) {
            let delay = self.transit();
            self.sidecar_in(from, delay, NodeEvent::Refused(nonce, to));
        }
    }

    /// A connection to the sidecar of `by` was refused.
    pub fn refused(&mut self, node: usize, by: usize) {
        let name = self.nodes[by].name.clone();
        let now = self.nodes[node].now(self.now);
        let sidecar = self.nodes[node].sidecar.as_mut();
        let heard = sidecar.and_then(|sidecar| sidecar.peers.get_mut(&name));
        if let Some(heard) = heard
            && heard.refused_at.is_none()
        {
            heard.refused_at = Some(now);
            self.dirty(node);
        }
    }

    /// A call is taken from somebody of the same generation only, and both learn of the later one.
    pub fn called(&mut self, node: usize, from: usize, generation: Generation, message: Message) {
        let mine = self.nodes[node].disk.generation;
        if generation == mine || self.is(Mutant::OldGenerationVotes) {
            return self.receive(node, from, message);
        }
        if generation > mine {
            return self.heard_generation(node, generation);
        }
        if let (false, Some(nonce)) = (self.cut[node][from], self.nonce(from)) {
            let delay = self.transit();
            self.sidecar_in(from, delay, NodeEvent::GenerationTold(nonce, mine));
        }
    }

    fn receive(&mut self, node: usize, from: usize, message: Message) {
        match message {
            Message::Renewal { to, send, renewal } => {
                // Every call names whom it is for, and nobody answers for somebody else.
                if self.nodes[node].disk.raft_id == Some(to) {
                    self.renewal(node, from, send, renewal);
                }
            }
            Message::Answer {
                by,
                nonce,
                epoch,
                send,
                granted,
                adopted,
            } => {
                if self.nonce(node) == Some(nonce) {
                    self.answered(node, by, epoch, send, granted, adopted);
                }
            }
            Message::Report(sent, report) => self.heard(node, sent, *report),
            Message::Release {
                epoch,
                secret,
                note,
            } => self.released(node, epoch, &secret, note),
            Message::Beat {
                term,
                committed,
                fresh,
            } => self.beat(node, from, term, committed, fresh),
            Message::BeatAnswer { by, term } => self.beat_answered(node, by, term),
        }
    }

    /// Reports come over one stream at a time, in their order.
    fn heard(&mut self, node: usize, sent: Nanos, report: MemberReport) {
        let now = self.nodes[node].now(self.now);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        let newest = sidecar.reported.entry(report.name.clone()).or_default();
        if sent < *newest {
            return;
        }
        *newest = sent;
        let news = sidecar
            .peers
            .get(&report.name)
            .is_none_or(|known| known.report != report || known.refused_at.is_some());
        let since = sidecar.peers.get(&report.name).map_or(now, |known| {
            Heard::since_after(known.since, known.at, known.refused_at.is_some(), now)
        });
        let heard = Heard {
            at: now,
            since,
            refused_at: None,
            report,
        };
        sidecar.peers.insert(heard.report.name.clone(), heard);
        if news {
            self.dirty(node);
        }
    }
}
