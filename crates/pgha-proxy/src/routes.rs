//! Where connections go, as the daemon decided.

use std::net::SocketAddr;
use std::time::Duration;

use pgha_core::{Epoch, MemberName};

/// Everything the ports need to know of the cluster. Replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// The highest epoch this member knows.
    pub epoch: Epoch,
    /// Where the read-write port leads.
    pub read_write: Route,
    /// Who may serve the read-only port: healthy replicas within the lag limit.
    pub read_only: Vec<ReadOnlyTarget>,
    /// The other replicas. They get no new reads, and may still run one that began before: cancel
    /// requests go to them as well.
    pub unfit_to_read: Vec<ReadOnlyTarget>,
    /// How long a new connection is held while nobody can serve it (`proxy.hold_ms`).
    pub hold_timeout: Duration,
    /// Whether reads go to the primary when no replica serves them (`read.fallback_to_primary`).
    pub fallback_to_primary: bool,
}

impl Routes {
    /// Nothing is known yet: every connection is held.
    pub fn hold(why: impl Into<String>) -> Self {
        Self {
            epoch: Epoch::NONE,
            read_write: Route::Hold { why: why.into() },
            read_only: Vec::new(),
            unfit_to_read: Vec::new(),
            hold_timeout: Duration::from_secs(10),
            fallback_to_primary: true,
        }
    }
}

/// Where the read-write port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nobody is known to be primary.
    Hold {
        /// Told to clients that waited in vain.
        why: String,
    },
    /// This member is the primary; bytes pass its gate, whose epoch must be that of the routes.
    Local {
        /// Where the local PostgreSQL listens, over TCP: never the peer-authenticated socket.
        postgres: SocketAddr,
    },
    /// Another member is: its sidecar's read-write port.
    Remote {
        /// Its name, for messages.
        member: MemberName,
        /// `host:port` of its sidecar's read-write port.
        address: String,
        /// The epoch it is primary of.
        epoch: Epoch,
    },
}

/// One who may serve reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOnlyTarget {
    /// Its name, for messages.
    pub member: MemberName,
    /// Where it is reached.
    pub address: ReadOnlyAddress,
    /// Its share of the sessions relative to the others; zero counts as one.
    pub weight: u32,
}

/// How a replica is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOnlyAddress {
    /// This member's own PostgreSQL, subject to [`ReadOnlyAdmission`](crate::ReadOnlyAdmission).
    Local {
        /// Where it listens.
        postgres: SocketAddr,
    },
    /// `host:port` of another sidecar's read-only port.
    Remote {
        /// The address.
        address: String,
    },
}
