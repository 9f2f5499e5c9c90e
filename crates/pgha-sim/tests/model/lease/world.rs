//! What there is: a log, voters, holders, and messages on their way.

use std::collections::BTreeSet;
use std::sync::Arc;

use pgha_core::lease::{Grantor, Holder};
use pgha_core::{Epoch, Mono, Nonce};

/// An entry of the log, committed. Who is behind reads it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// An epoch ends, this one begins.
    Revoke(Epoch),
    /// Who is its primary.
    Primary(Epoch, usize, Nonce),
    /// The next membership.
    Voters,
    /// `lease_ms` from here on.
    LeaseMs(u64),
}

/// A message that may arrive at any time, or never.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Renewal(Sent),
    Answer(Answer),
    /// The proof that nothing of an epoch is left.
    Release(usize, Epoch),
}

/// A renewal to one grantor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) epoch: Epoch,
    pub(crate) nonce: Nonce,
    pub(crate) send: Send,
}

/// What is the same of it for every grantor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Send {
    pub(crate) number: u64,
    pub(crate) at: Mono,
    pub(crate) membership: u64,
    /// Whether the lease was held, so that learners were asked too.
    pub(crate) held: bool,
}

impl Sent {
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            by: self.to,
            to: self.from,
            nonce: self.nonce,
            number: self.send.number,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Answer {
    pub(crate) by: usize,
    pub(crate) to: usize,
    pub(crate) nonce: Nonce,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// How many entries of the log it has applied. Read again after a start.
    pub(crate) applied: usize,
    /// How many changes of the voters are in its store, the last of them perhaps not committed.
    pub(crate) membership: u64,
    /// Durable, unless the rule is broken.
    pub(crate) adopted: Epoch,
    pub(crate) nonce: Nonce,
    /// An entry named this very process.
    pub(crate) named: bool,
    pub(crate) grantor: Grantor<u64>,
    pub(crate) holder: Option<Holder<u64>>,
    /// Renewals of its holder that may still come to something.
    pub(crate) sends: Vec<Send>,
    /// It serves without having asked anybody: what a broken rule allows.
    pub(crate) believes: bool,
    /// How many times its holder may still send, where that is limited.
    pub(crate) sends_left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tick: u64,
    pub(crate) log: Arc<Vec<Entry>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) wire: BTreeSet<Message>,
    pub(crate) restarts_left: u8,
    /// Whether 1 was ever named.
    pub(crate) named_one: bool,
    /// Who once reported the holder of which epoch to be silent.
    pub(crate) silent: BTreeSet<(usize, Epoch)>,
    /// The highest epoch that anybody ever held.
    pub(crate) highest_held: Epoch,
}

impl State {
    pub(crate) fn node(&mut self, index: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[index])
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        Arc::make_mut(&mut self.log).push(entry);
    }

    /// The newest epoch of the log.
    pub(crate) fn newest(&self) -> Epoch {
        let epochs = self.log.iter().rev();
        let mut epochs = epochs.filter_map(|entry| match entry {
            Entry::Revoke(epoch) | Entry::Primary(epoch, ..) => Some(*epoch),
            Entry::Voters | Entry::LeaseMs(_) => None,
        });
        epochs.next().unwrap_or(Epoch::NONE)
    }

    /// How many of the entries that a node has applied, or of all, are of this kind.
    pub(crate) fn count(&self, applied: usize, wanted: impl Fn(&Entry) -> bool) -> u64 {
        let read = self.log[..applied].iter();
        read.filter(|entry| wanted(entry)).count() as u64
    }

    /// How often the voters have changed for certain.
    pub(crate) fn changes(&self) -> u64 {
        self.count(self.log.len(), |entry| *entry == Entry::Voters)
    }
}
