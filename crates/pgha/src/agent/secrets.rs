//! The secrets of epochs, between their drawing and the guard.

use std::collections::BTreeMap;

use pgha_core::Epoch;
use pgha_core::lease::{ReleaseHash, release_hash};
use pgha_guard::{EmptyReport, Secret};

/// Secrets that no guard has yet, and those that a guard gave back for an empty tree.
#[derive(Default)]
pub(super) struct Secrets {
    drawn: BTreeMap<Epoch, Secret>,
    given_back: BTreeMap<Epoch, (Secret, EmptyReport)>,
}

impl Secrets {
    /// Draws the secret of an epoch; says what it hashes to.
    pub(super) fn draw(&mut self, epoch: Epoch) -> ReleaseHash {
        let secret = self
            .drawn
            .entry(epoch)
            .or_insert_with(|| Secret::new(rand::random()));
        release_hash(secret.bytes())
    }

    /// Hands the secret to the guard: from now on only an empty tree gives it back.
    pub(super) fn hand_over(&mut self, epoch: Epoch) -> Option<Secret> {
        self.drawn.remove(&epoch)
    }

    /// The guard found the tree empty.
    pub(super) fn take_back(&mut self, report: EmptyReport) {
        if let Some(secret) = report.secret.clone() {
            self.given_back.insert(report.epoch, (secret, report));
        }
    }

    /// The secret for a release: given back by a guard, or never given to one because nothing was
    /// started in this epoch.
    pub(super) fn release(&mut self, epoch: Epoch) -> Option<(Secret, Option<EmptyReport>)> {
        if let Some((secret, report)) = self.given_back.remove(&epoch) {
            return Some((secret, Some(report)));
        }
        self.drawn.remove(&epoch).map(|secret| (secret, None))
    }
}
