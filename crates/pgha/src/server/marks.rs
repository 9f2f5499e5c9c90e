//! The marks that this member leaves in its data directory.

use std::path::PathBuf;

use pgha_core::ClusterState;

use super::Site;

/// The mark in a data directory that a cluster has it: a member that lost its Raft store only must
/// not look as if it never had one.
const MARK_FILE: &str = "pgha.cluster";
/// Says that a data directory was made and never served.
const FRESH_FILE: &str = "pgha.fresh";

impl Site {
    fn mark_path(&self) -> PathBuf {
        self.layout.data_dir.join(MARK_FILE)
    }

    /// Whether the data directory says that a cluster has it.
    pub(crate) fn is_marked(&self) -> bool {
        self.mark_path().exists()
    }

    /// Says in the data directory that this cluster has it.
    pub(crate) fn mark(&self, state: &ClusterState) {
        let text = format!("{}\n", state.cluster_id);
        if std::fs::read_to_string(self.mark_path()).is_ok_and(|found| found == text) {
            return;
        }
        if let Err(error) = std::fs::write(self.mark_path(), text) {
            tracing::warn!(%error, path = %self.mark_path().display(), "cannot mark the data directory");
        }
    }

    /// Says in a new data directory that there is nothing in it.
    pub(crate) fn mark_fresh(&self) -> std::io::Result<()> {
        std::fs::write(self.layout.data_dir.join(FRESH_FILE), "")
    }

    /// Whether the data directory was made here and never served.
    pub(super) fn is_fresh(&self) -> bool {
        self.layout.data_dir.join(FRESH_FILE).exists()
    }

    /// It is about to serve.
    pub(super) fn unmark_fresh(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.layout.data_dir.join(FRESH_FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => std::fs::File::open(&self.layout.data_dir)?.sync_all(),
        }
    }
}
