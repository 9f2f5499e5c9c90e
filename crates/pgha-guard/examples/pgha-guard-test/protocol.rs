//! What a test says to its sidecar and hears from it, one JSON value on each line.

use pgha_core::{Epoch, Mono};
use pgha_guard::{Event, Order};
use serde::{Deserialize, Serialize};

/// What a test wants its sidecar to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// Acknowledge every empty tree from now on.
    AckEmpty,
    /// Set the board's deadline this far from now, once.
    Deadline { epoch: Epoch, in_ms: u64 },
    /// Kill the guard, and empty what it leaves.
    KillAndEmpty,
    /// Send this order.
    Order(Box<Order>),
    /// Set the board's deadline this far from now, and do it again every few milliseconds.
    Renew { epoch: Epoch, for_ms: u64 },
    /// Drop this guard's handle and start another guard.
    Respawn,
    /// Say once the guard counts as stalled.
    AwaitStall,
    /// Take over what another sidecar left.
    TakeOver,
}

/// What a test hears.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The tree is proven empty.
    Emptied { killed: usize, took_us: u64 },
    /// The guard said so.
    Event(Event),
    /// A wish failed.
    Failed(String),
    /// A guard was started.
    Guard { pid: u32 },
    /// The deadline is set.
    Set { kill_at: Mono },
    /// The guard counts as stalled.
    Stalled { stamp_age_us: u64 },
}
