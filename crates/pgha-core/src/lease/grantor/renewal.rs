//! What a holder asks of a voter, and what it is answered.

use std::fmt;
use std::time::Duration;

use super::release::ReleaseHash;
use crate::lease::LeaseTiming;
use crate::{Epoch, Lsn, Nonce};

/// A renewal as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Renewal<M> {
    /// The epoch that is renewed.
    pub epoch: Epoch,
    /// The process that renews it.
    pub nonce: Nonce,
    /// Lease time of the holder.
    pub timing: LeaseTiming,
    /// How long a started or changed voter waits by the settings that the holder has applied
    /// ([`Settings::start_wait`](crate::Settings::start_wait)).
    pub start_wait: Duration,
    /// What the holder's secret hashes to.
    pub release_hash: ReleaseHash,
    /// The primary's flush position.
    pub flush_lsn: Lsn,
    /// Which effective membership the holder counts with.
    pub membership: M,
    /// The highest epoch that the holder has adopted.
    pub adopted: Epoch,
    /// Whether the sender holds the lease, or collects support for it yet.
    pub held: bool,
}

/// What becomes of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Supported until the promise lapses.
    Granted,
    /// The epoch is new here: it has to be on disk before anything is answered. Ask again then.
    AdoptFirst(Epoch),
    /// Not supported.
    Refused(RenewalRefusal),
}

/// How far above everything it knows a member believes an epoch that somebody tells.
///
/// An adopted epoch is for ever: one that nobody will reach would end the cluster's last primary.
/// Epochs are raised one committed entry at a time, so whoever is so far behind has not applied a
/// million changes of primary. It must not grant before it has (`CatchingUp`), and adopts the epoch of
/// each entry as it applies it, without this bound: nobody honest is refused for ever.
pub const EPOCH_JUMP_MAX: u64 = 1_000_000;

/// Whether a member that knows of `known` should believe that `told` exists.
pub fn is_believable(told: Epoch, known: Epoch) -> bool {
    told.0.saturating_sub(known.0) <= EPOCH_JUMP_MAX
}

/// Why a renewal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalRefusal {
    /// A newer epoch was adopted.
    OldEpoch,
    /// The epoch was released, or belongs to another process.
    Dead,
    /// A promise for an earlier epoch has not lapsed.
    Promised,
    /// Promises from before the start or the change of membership may still live.
    StartWait,
    /// The log has not reached what a current leader has committed.
    CatchingUp,
    /// The holder counts with another membership.
    Membership,
    /// It speaks of an epoch further ahead than any member can be behind ([`EPOCH_JUMP_MAX`]).
    Unbelievable,
}

impl fmt::Display for RenewalRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OldEpoch => "old_epoch",
            Self::Dead => "dead",
            Self::Promised => "promised",
            Self::StartWait => "start_wait",
            Self::CatchingUp => "catching_up",
            Self::Membership => "membership",
            Self::Unbelievable => "unbelievable_epoch",
        })
    }
}
