//! Changes of primary as programs see them.

use pgha_proto::v1;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::lsn;

/// One element of `pgha-ctl history --output json`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Entry {
    pub(crate) epoch: u64,
    pub(crate) timeline: u32,
    pub(crate) primary: String,
    pub(crate) previous_primary: Option<String>,
    pub(crate) cause: String,
    pub(crate) at: String,
    pub(crate) fork_lsn: Option<String>,
    pub(crate) lost_from_lsn: Option<String>,
    pub(crate) lost_to_lsn: Option<String>,
    pub(crate) lost_bytes: Option<u64>,
    pub(crate) lost_final: Option<bool>,
    pub(crate) steps_ms: Steps,
}

/// An object whose fields keep the order in which the steps happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Steps(pub(crate) Vec<(String, u64)>);

impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, ms) in &self.0 {
            map.serialize_entry(name, ms)?;
        }
        map.end()
    }
}

impl From<v1::HistoryEntry> for Entry {
    fn from(entry: v1::HistoryEntry) -> Self {
        Self {
            epoch: entry.epoch,
            timeline: entry.timeline,
            primary: entry.primary,
            previous_primary: entry.previous_primary,
            cause: entry.cause,
            at: entry.at,
            fork_lsn: lsn(entry.fork_lsn),
            lost_from_lsn: lsn(entry.lost_from_lsn),
            lost_to_lsn: lsn(entry.lost_to_lsn),
            lost_bytes: entry.lost_bytes,
            lost_final: entry.lost_final,
            steps_ms: Steps(
                entry
                    .steps
                    .into_iter()
                    .map(|step| (step.name, step.ms))
                    .collect(),
            ),
        }
    }
}
