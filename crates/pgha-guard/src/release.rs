//! What the release of an epoch says and whom it is for.

use pgha_core::{ClusterId, Epoch, Generation, MemberName};
use serde::{Deserialize, Serialize};

use crate::message::{EmptyCause, EmptyReport};
use crate::secret::Secret;

/// A member that a release is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The member's name.
    pub name: MemberName,
    /// Its gRPC address, `host:port`.
    pub address: String,
}

/// What the guard must know to have an epoch released when no sidecar is left to do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRoute {
    /// The cluster the epoch belongs to.
    pub cluster_id: ClusterId,
    /// The generation of that cluster.
    pub generation: Generation,
    /// Who holds the epoch.
    pub holder: MemberName,
    /// Whom to tell.
    pub peers: Vec<Peer>,
}

/// What `pgha release` reads from its standard input: never from its arguments or environment,
/// which other users of the host can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseNote {
    /// The cluster the epoch belongs to.
    pub cluster_id: ClusterId,
    /// The generation of that cluster.
    pub generation: Generation,
    /// The epoch that is over.
    pub epoch: Epoch,
    /// Proof that the guard found the tree empty.
    pub secret: Secret,
    /// Who held the epoch.
    pub holder: MemberName,
    /// Whom to tell.
    pub peers: Vec<Peer>,
    /// From the fault seen until SIGKILL had been sent to every process of the tree.
    pub seen_to_fenced_us: u64,
    /// From the fault seen until no process of the tree was left.
    pub seen_to_empty_us: u64,
    /// Why the tree was emptied.
    pub cause: EmptyCause,
}

impl ReleaseNote {
    pub(crate) fn new(
        route: &ReleaseRoute,
        epoch: Epoch,
        secret: Secret,
        report: &EmptyReport,
    ) -> Self {
        Self {
            cluster_id: route.cluster_id.clone(),
            generation: route.generation,
            epoch,
            secret,
            holder: route.holder.clone(),
            peers: route.peers.clone(),
            seen_to_fenced_us: report.seen_to_fenced_us,
            seen_to_empty_us: report.seen_to_empty_us,
            cause: report.cause,
        }
    }
}
