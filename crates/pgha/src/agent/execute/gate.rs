//! Opens and closes the gate, and does what a new primary is owed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::Epoch;
use pgha_core::gate::GateSetting;
use pgha_core::lease::Hold;
use pgha_guard::clock;

use crate::agent::Agent;

const ROLE_TRIES: u32 = 10;
const ROLE_PAUSE: Duration = Duration::from_millis(500);

impl Agent {
    pub(super) fn open_gate(&mut self, epoch: Epoch) {
        let view = self.parts.holder.view();
        let Hold::Held(deadlines) = view.hold else {
            return;
        };
        if view.epoch != epoch {
            return;
        }
        let setting = GateSetting {
            epoch,
            hold_at: deadlines.hold,
            close_at: deadlines.close,
        };
        match self.parts.gate.set(setting) {
            Ok(()) => {
                tracing::info!(%epoch, "the gate is open");
                self.parts
                    .shared
                    .open_epoch
                    .store(epoch.0, Ordering::Release);
                self.local.gate_open = Some(epoch);
                self.local.gate_opened_at = Some(clock::now());
                self.parts.wake.wake();
                self.mark_data();
                self.ensure_roles();
            }
            Err(error) => {
                tracing::error!(%epoch, %error, "the gate does not open: the epoch is given up");
                self.parts.holder.drop_lease();
            }
        }
    }

    fn mark_data(&self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        let site = Arc::clone(worker.site());
        let state = self.state.borrow().clone();
        tokio::task::spawn_blocking(move || site.mark(&state.state));
    }

    /// The replication role as it should be, on every new primary: what made the data directory may
    /// have been interrupted before it was made.
    fn ensure_roles(&self) {
        let Some(worker) = self.parts.worker.clone() else {
            return;
        };
        let state = self.state.borrow().clone();
        tokio::spawn(async move {
            for _ in 0..ROLE_TRIES {
                match worker.desk().await.ensure_roles(&state.state).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "the replication role is not made yet"),
                }
                tokio::time::sleep(ROLE_PAUSE).await;
            }
        });
    }

    pub(super) fn close_gate(&mut self) {
        self.parts.shared.open_epoch.store(0, Ordering::Release);
        self.parts.gate.close();
        if self.local.gate_open.take().is_some() {
            tracing::info!("the gate is closed");
        }
        self.local.gate_opened_at = None;
    }
}
