//! The proof that nothing of an epoch is left.

use sha2::{Digest, Sha256};

/// SHA-256 of a holder's secret.
pub type ReleaseHash = [u8; 32];

/// What becomes of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its secret fits the promise made here: the epoch is over.
    First,
    /// It was accepted before, with this very secret.
    Again,
    /// It proves nothing.
    Unfit,
}

impl Release {
    /// Whether the secret proves that nothing of the epoch is left.
    pub fn fits(self) -> bool {
        self != Self::Unfit
    }
}

/// What a secret's owner sends in its renewals.
pub fn release_hash(secret: &[u8]) -> ReleaseHash {
    Sha256::digest(secret).into()
}
