//! What the prober saw of a running PostgreSQL.

use std::sync::atomic::Ordering;

use pgha_core::Mono;
use pgha_core::decide::Tree;
use pgha_guard::clock;

use crate::agent::Agent;
use crate::server::ProbeReport;

impl Agent {
    pub(super) fn take_probe(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Answer(mut probe) => {
                if !matches!(self.local.tree, Tree::Standby { .. } | Tree::Primary { .. }) {
                    return;
                }
                if self.local.probe.is_none()
                    && let Some(worker) = &self.parts.worker
                {
                    worker.warm_up();
                }
                self.parts.shared.hung.store(false, Ordering::Release);
                probe.restart_pending.clone_from(&self.restart_pending);
                self.local.answers(*probe);
            }
            ProbeReport::Silent { since, error } => self.take_silence(since, &error),
        }
    }

    fn take_silence(&mut self, since: Mono, error: &str) {
        let hung = clock::now().since(since) > self.parts.config.primary_hang;
        let before = self.parts.shared.hung.swap(hung, Ordering::AcqRel);
        if hung && !before {
            tracing::error!(error, "PostgreSQL hangs: its lease is not renewed any more");
        }
    }

    pub(in crate::agent) fn look_again(&self) {
        if let Some(prober) = &self.prober {
            prober.look_again();
        }
    }
}
