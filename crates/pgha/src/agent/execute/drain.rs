//! The moment between the last new session and the stop of PostgreSQL at a handover.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::Epoch;
use pgha_guard::{GuardHandle, Order, clock};
use pgha_proxy::Gate;

use crate::agent::Agent;
use crate::server::Worker;

/// Sessions that are being drained are waited for before PostgreSQL stops.
const DRAIN_MAX: Duration = Duration::from_millis(100);
/// So are those that are logging in, as nobody else can go on with their handshakes. Only a client
/// that has stopped in the middle of its own takes longer.
const LOGIN_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

impl Agent {
    /// Sends the order once no session is left, or after a moment.
    pub(super) fn stop_when_drained(&self, epoch: Epoch, guard: Arc<GuardHandle>, order: Order) {
        let gate = Arc::clone(&self.parts.gate);
        let worker = self.parts.worker.clone();
        tokio::spawn(async move {
            drained(&gate, epoch).await;
            let logins = logged_in(&gate, epoch, worker.as_ref());
            if tokio::time::timeout(LOGIN_MAX, logins).await.is_err() {
                tracing::warn!("PostgreSQL is stopped while clients are logging in");
            }
            super::order(&guard, &order);
        });
    }
}

async fn drained(gate: &Gate, epoch: Epoch) {
    let until = clock::now() + DRAIN_MAX;
    while gate.sessions(epoch) > 0 && clock::now() < until {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns when nobody is logging in any more. New sessions are held already.
async fn logged_in(gate: &Gate, epoch: Epoch, worker: Option<&Worker>) {
    let Some(worker) = worker else { return };
    loop {
        let under_way = gate.logins(epoch);
        if under_way.is_empty() {
            return;
        }
        // What the ports cannot see, because it is encrypted, PostgreSQL tells.
        match worker.desk().await.logged_in().await {
            Ok(known) if under_way.iter().all(|from| known.contains(from)) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "nobody can tell who is logging in");
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
