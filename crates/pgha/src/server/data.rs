//! What lies in the data directory.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgha_core::decide::{Data, DataCluster};
use pgha_core::{Epoch, Lsn, Reason, SystemIdentifier, TimelineId};
use pgha_postgres::control::ClusterState as ControlState;
use pgha_postgres::{DataDirectory, Marker, WalTail, end_of_wal, rewound_to, timeline};

use super::Site;

/// Of a directory that the system does not let anybody look into.
const LOOKS_MAX: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A primary that ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) timeline: TimelineId,
    /// It had flushed its WAL up to there, at least. `None` where another process watched it.
    pub(crate) flush: Option<Lsn>,
    /// Its newest WAL, as long as it is held.
    pub(crate) tail: Option<Arc<Mutex<WalTail>>>,
}

/// What lies in a data directory.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) data: Data,
    /// Where the WAL of the primary ended.
    pub(crate) end: Option<(TimelineId, Lsn)>,
}

impl Site {
    /// What lies in the data directory. Of a primary that ended the end of WAL is read too, also where
    /// its directory was removed. `ran`: this process has run PostgreSQL there, so what is left of a
    /// directory that is being removed is its own. Runs programs: not for the runtime's threads.
    pub(crate) fn inspect(&self, ended: Option<&Ended>, ran: bool) -> Found {
        let mut data = self.look(ran);
        let end = match (&mut data, ended) {
            // Rewound, cloned or attached to another primary since: what that primary wrote is no tail.
            (Data::Cluster(cluster), Some(ended))
                if ended.flush.is_none() && cluster.timeline != ended.timeline =>
            {
                None
            }
            (Data::Cluster(cluster), Some(ended)) => {
                if cluster.shutdown_lsn.is_none() {
                    cluster.end_lsn = self.end_of(cluster, ended);
                }
                cluster.shutdown_lsn.or(cluster.end_lsn)
            }
            (Data::Missing | Data::Unfinished | Data::Unusable(_), Some(ended)) => {
                self.end_of_gone(ended)
            }
            _ => None,
        };
        let end = ended.zip(end).map(|(ended, end)| (ended.timeline, end));
        Found { data, end }
    }

    fn end_of(&self, cluster: &DataCluster, ended: &Ended) -> Option<Lsn> {
        let from = ended.flush.unwrap_or(cluster.redo_lsn);
        let data_dir = &self.layout.data_dir;
        end_of_wal(&self.installation, data_dir, ended.timeline, from)
            .inspect_err(|error| tracing::warn!(%error, "the end of WAL is not known"))
            .ok()
            // There is a record where a crash recovery begins, or that is not where to look.
            .filter(|end| ended.flush.is_some() || *end > from)
    }

    fn end_of_gone(&self, ended: &Ended) -> Option<Lsn> {
        let tail = ended.tail.as_ref()?;
        let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        match tail.end(&self.installation, ended.timeline, ended.flush?) {
            Ok(end) => {
                tracing::warn!(%end, "the data directory is gone; its newest WAL was held open");
                Some(end)
            }
            Err(error) => {
                tracing::warn!(%error, "the data directory is gone, and where its WAL ended is not known");
                None
            }
        }
    }

    /// What cannot be looked into, as there is no process or descriptor to be had, is not damaged: it is
    /// looked at again before that is said.
    fn look(&self, ran: bool) -> Data {
        for _ in 1..LOOKS_MAX {
            match self.look_once(ran) {
                Ok(data) => return data,
                Err(error) => tracing::warn!("the data directory cannot be looked into: {error:#}"),
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        self.look_once(ran).unwrap_or_else(|error| {
            tracing::error!("the data directory cannot be looked into: {error:#}");
            Data::Unusable(Reason::DataUnreadable)
        })
    }

    fn look_once(&self, ran: bool) -> anyhow::Result<Data> {
        if Marker::stands(&self.layout.run_dir)? {
            return Ok(Data::Unfinished);
        }
        let found = DataDirectory::inspect(&self.installation, &self.layout.data_dir)?;
        Ok(match found {
            DataDirectory::Missing | DataDirectory::Empty => Data::Missing,
            DataDirectory::OtherMajor { .. } => Data::Unusable(Reason::MajorVersionDiffers),
            DataDirectory::NotPostgres { example } if ran => {
                tracing::error!(
                    example,
                    "the data directory was removed in part and will be cloned"
                );
                Data::Unfinished
            }
            DataDirectory::NotPostgres { .. } | DataDirectory::ForeignOwner { .. } => {
                Data::Unusable(Reason::DataForeign)
            }
            // A control file that cannot be believed: nothing to start, and nothing to rewind.
            DataDirectory::Damaged { reason } => {
                tracing::error!(reason, "the data directory is damaged and will be cloned");
                Data::Unfinished
            }
            DataDirectory::Cluster(cluster) => Data::Cluster(self.cluster(&cluster)),
        })
    }

    fn cluster(&self, cluster: &pgha_postgres::Cluster) -> DataCluster {
        let control = &cluster.control;
        let own = control.newest_timeline();
        let newest = timeline::newest_history(&self.layout.data_dir)
            .ok()
            .flatten();
        DataCluster {
            system_identifier: control.system_identifier,
            timeline: own,
            shutdown_lsn: (control.state == ControlState::ShutDown).then_some(control.checkpoint),
            end_lsn: None,
            redo_lsn: control.redo,
            history_ahead: newest.is_some_and(|newest| newest > own),
            was_primary: matches!(
                control.state,
                ControlState::InProduction | ControlState::ShuttingDown | ControlState::ShutDown
            ),
            never_served: self.is_fresh(),
            never_replayed: cluster.backup_label,
            rewound: self.rewound(),
        }
    }

    fn rewound(&self) -> Option<Epoch> {
        rewound_to(&self.layout.run_dir).unwrap_or_else(|error| {
            tracing::error!(%error, "whether the data directory was rewound is not known");
            Some(Epoch::NONE)
        })
    }

    /// The system identifier of the data directory, if there is a usable one.
    pub(crate) fn system_identifier(&self) -> Option<SystemIdentifier> {
        match self.look(false) {
            Data::Cluster(cluster) => Some(cluster.system_identifier),
            Data::Unknown | Data::Missing | Data::Unfinished | Data::Unusable(_) => None,
        }
    }
}
