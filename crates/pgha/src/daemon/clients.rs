//! The applications' ports, from the moment that the cluster is known.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::ClusterId;
use pgha_proxy::{ClusterTag, Gate, Ports, ReadOnlyAdmission, Routes, Wiring};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Connections that are still open when the process ends are waited for this long.
const DISMISS_MAX: Duration = Duration::from_secs(2);

/// The running ports, and what steers them.
pub(super) struct Clients {
    pub(super) admission: Arc<ReadOnlyAdmission>,
    pub(super) routes: watch::Sender<Arc<Routes>>,
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Clients {
    /// Accepts connections, and holds them until there is a route.
    pub(super) fn admit(ports: Ports, gate: &Arc<Gate>, cluster_id: &ClusterId) -> Self {
        let routes = watch::Sender::new(Arc::new(Routes::hold("the cluster is starting")));
        let admission = Arc::new(ReadOnlyAdmission::new());
        let end = CancellationToken::new();
        let wiring = Wiring {
            gate: Arc::clone(gate),
            admission: Arc::clone(&admission),
            routes: routes.subscribe(),
        };
        let running = ports
            .of_cluster(ClusterTag::of(cluster_id))
            .run(wiring, end.clone());
        Self {
            admission,
            routes,
            end,
            running: tokio::spawn(async move {
                if let Err(error) = running.await {
                    tracing::error!(%error, "nobody is accepted any more: restart the sidecar");
                }
            }),
        }
    }

    /// Ends them.
    pub(super) async fn dismiss(self) {
        self.end.cancel();
        let _ = tokio::time::timeout(DISMISS_MAX, self.running).await;
    }
}
