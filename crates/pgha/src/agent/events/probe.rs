//! What the prober saw of a running PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pgha_core::Mono;
use pgha_core::decide::Tree;
use pgha_guard::clock;
use pgha_postgres::forget_rewound;

use crate::agent::Agent;
use crate::server::ProbeReport;

impl Agent {
    pub(super) fn take_probe(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Answer(mut probe, shut) => {
                if !matches!(self.local.tree, Tree::Standby { .. } | Tree::Primary { .. }) {
                    return;
                }
                if self.local.probe.is_none()
                    && let Some(worker) = &self.parts.worker
                {
                    worker.warm_up();
                }
                match shut {
                    Some(shut) => self.take_silence(shut.since, &shut.error),
                    None => self.parts.shared.hung.store(false, Ordering::Release),
                }
                if self.local.rewound.is_some() {
                    self.noted_rewind.store(true, Ordering::Release);
                }
                if self.noted_rewind.swap(false, Ordering::AcqRel) {
                    self.is_consistent();
                }
                probe.restart_pending.clone_from(&self.restart_pending);
                self.local.answers(*probe);
            }
            ProbeReport::Silent { since, error } => self.take_silence(since, &error),
            ProbeReport::Removed => {
                tracing::error!("the data directory is gone: PostgreSQL is stopped");
                self.local.finds_removed();
            }
        }
    }

    /// Whoever is started next need not attach it to be answered.
    fn is_consistent(&self) {
        let Some(worker) = &self.parts.worker else {
            return;
        };
        let run_dir = worker.site().layout.run_dir.clone();
        let noted = Arc::clone(&self.noted_rewind);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = forget_rewound(&run_dir) {
                // Tried again with the next answer.
                noted.store(true, Ordering::Release);
                tracing::warn!(%error, "the note of a rewind stays: the next start may clone for nothing");
            }
        });
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
