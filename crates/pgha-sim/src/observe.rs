//! What a sidecar sees of its PostgreSQL: the end of the tree, the files, the answers.

use pgha_core::Epoch;
use pgha_core::decide::{Data, DataCluster, JobKind, Probe, Releasable, Tree};
use pgha_core::report::SlotReport;

use crate::event::NodeEvent;
use crate::mutant::Mutant;
use crate::wal::DataDirectory;
use crate::world::World;

impl World {
    /// What the sidecar learns when its guard says that nothing is left.
    pub fn tree_empty(&mut self, node: usize, epoch: Option<Epoch>, cause: String) {
        let now = self.nodes[node].now(self.now);
        let reads = self.span(2, 120);
        let reads_end = !self.fault_chance(10);
        let Some(sidecar) = &mut self.nodes[node].sidecar else {
            return;
        };
        // Reading the files takes programs, and time.
        let nonce = sidecar.me.nonce;
        sidecar.reads_end = reads_end && epoch.is_some();
        sidecar.examining = true;
        let local = &mut sidecar.local;
        let started = matches!(local.tree, Tree::Standby { .. } | Tree::Primary { .. });
        if started && local.probe.is_none() && local.stopping.is_none() {
            local.start_failed(cause.clone(), now);
        }
        local.ends();
        if let Some(epoch) = epoch
            && sidecar.secret.is_some_and(|(of, _)| of == epoch)
        {
            local.may_release(Releasable {
                epoch,
                cause,
                at: now,
            });
        }
        sidecar.silent_since = None;

        let broken = matches!(
            sidecar.job.as_ref().map(|job| &job.kind),
            Some(JobKind::Settle | JobKind::Promote { .. } | JobKind::Checkpoint { .. })
        );
        if broken {
            self.job_failed(node, "PostgreSQL ended");
        }
        self.sidecar_in(node, reads, NodeEvent::Examined(nonce));
        self.dirty(node);
    }

    /// The files were read.
    pub fn examined(&mut self, node: usize) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.examining = false;
        }
        self.examine(node);
        self.dirty(node);
    }

    /// The directory of the running PostgreSQL is gone, if it has not ended meanwhile.
    pub fn data_removed(&mut self, node: usize) {
        if let Some(sidecar) = &mut self.nodes[node].sidecar {
            sidecar.local.finds_removed();
        }
        self.count("removed data noticed");
        self.dirty(node);
    }

    /// Reads control file and `pg_wal`.
    pub fn examine(&mut self, node: usize) {
        let unseen = self.is(Mutant::MarkerUnseen);
        let promotion_unseen = self.is(Mutant::HandPromotionUnseen);
        let kept = self.others_keep_line(node);
        let at = self.now;
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        if sidecar.me.kind == pgha_core::MemberKind::Witness || sidecar.examining {
            return;
        }
        let reads_end = sidecar.reads_end && n.postgres.is_none();
        let end_of = |data: &DataDirectory| (data.timeline(), data.end());
        let mut end = n.disk.data.as_ref().filter(|_| reads_end).map(end_of);
        if n.postgres.is_none() && n.removal {
            // The last copy may have been given up meanwhile, and there is no way back from that.
            n.removal = false;
            if kept {
                n.disk.data = None;
                n.destroyed_at = Some(at);
                n.end_held = end.is_some();
            }
        } else if sidecar.local.start_failures.count > 0 {
            let data = n.disk.data.as_ref();
            let own = n.disk.state.journal.iter().rev();
            let own = own.clone().find(|e| e.primary.as_ref() == Some(&n.name));
            let timeline = own.filter(|e| e.opened).and_then(|e| e.timeline);
            end = end.or_else(|| data.zip(timeline).and_then(|(data, t)| data.end_on(t)));
        }
        let found = match &n.disk.data {
            _ if n.disk.marker && !unseen => Data::Unfinished,
            None => Data::Missing,
            Some(data) => Data::Cluster(DataCluster {
                system_identifier: data.system_identifier,
                timeline: data.control_timeline,
                shutdown_lsn: data.clean.then(|| data.end()),
                end_lsn: (reads_end && !data.clean).then(|| data.end()),
                redo_lsn: data.redo,
                history_ahead: data.newest_history > data.timeline(),
                was_primary: data.was_primary && !promotion_unseen,
                never_served: n.disk.initialized && data.never_served(),
                never_replayed: data.never_replayed,
                rewound: data.rewound,
            }),
        };
        sidecar.local.finds(found);
        if let Some((timeline, end)) = end {
            sidecar.local.finds_end(timeline, end);
        }
    }

    /// Something is worth a probe.
    pub fn probe_soon(&mut self, node: usize) {
        if let Some(nonce) = self.nonce(node) {
            let delay = self.span(1, 6);
            self.sidecar_in(node, delay, NodeEvent::ProbeOnce(nonce));
        }
    }

    /// One answer of PostgreSQL, if it answers.
    pub fn probe_now(&mut self, node: usize) {
        let unseen = self.is(Mutant::HandPromotionUnseen);
        let now = self.nodes[node].now(self.now);
        let n = &mut self.nodes[node];
        let Some(sidecar) = &mut n.sidecar else {
            return;
        };
        let (Some(postgres), Some(data)) = (&n.postgres, &n.disk.data) else {
            return;
        };
        if !postgres.ready || postgres.hung {
            if postgres.hung {
                sidecar.silent_since.get_or_insert(now);
            }
            return;
        }
        sidecar.silent_since = None;
        if matches!(sidecar.local.tree, Tree::Empty | Tree::Unknown) {
            return;
        }
        let streaming = postgres
            .receiver
            .as_ref()
            .is_some_and(|receiver| receiver.attached.is_some());
        let slots = data.slots.iter().map(|(name, lsn)| SlotReport {
            name: name.clone(),
            restart_lsn: Some(*lsn),
            lost: *lsn < data.kept_from,
        });
        let probe = Probe {
            at: now,
            in_recovery: !postgres.writable,
            timeline: data.timeline(),
            received: data.end(),
            replayed: data.end(),
            streaming,
            checkpointed: postgres.writable.then_some(data.control_timeline),
            slots: slots.collect(),
            restart_pending: Vec::new(),
            replay_paused: false,
        };
        let local = &mut sidecar.local;
        let same = local.probe.as_ref().is_some_and(|old| {
            let old = Probe {
                at: probe.at,
                received: probe.received,
                replayed: probe.replayed,
                slots: probe.slots.clone(),
                ..old.clone()
            };
            let names = |p: &Probe| p.slots.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
            old == probe && local.probe.as_ref().map(names) == Some(names(&probe))
        });
        let settled = local.settled.clone();
        local.answers(probe);
        if unseen {
            local.settled = settled;
        }
        if !same {
            self.dirty(node);
        }
    }
}
