//! The applications' ports. While there is no cluster yet they hold and refuse as when nobody is primary.

use std::sync::{Arc, OnceLock};
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
    cluster: Arc<OnceLock<ClusterTag>>,
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Clients {
    /// Accepts connections, and holds them until there is a route.
    pub(super) fn admit(ports: Ports, gate: &Arc<Gate>) -> Self {
        let routes = watch::Sender::new(Arc::new(Routes::hold("the cluster is starting")));
        let admission = Arc::new(ReadOnlyAdmission::new());
        let end = CancellationToken::new();
        let cluster = Arc::default();
        let wiring = Wiring {
            gate: Arc::clone(gate),
            admission: Arc::clone(&admission),
            routes: routes.subscribe(),
            cluster: Arc::clone(&cluster),
        };
        let running = ports.run(wiring, end.clone());
        Self {
            admission,
            routes,
            cluster,
            end,
            running: tokio::spawn(async move {
                if let Err(error) = running.await {
                    tracing::error!(%error, "nobody is accepted any more: restart the sidecar");
                }
            }),
        }
    }

    /// From here on connections go to and come from the other members.
    pub(super) fn belong_to(&self, cluster_id: &ClusterId) {
        self.cluster.get_or_init(|| ClusterTag::of(cluster_id));
    }

    /// Ends them.
    pub(super) async fn dismiss(self) {
        self.end.cancel();
        let _ = tokio::time::timeout(DISMISS_MAX, self.running).await;
    }
}
