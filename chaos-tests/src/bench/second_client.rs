//! A second client that stays with the old primary, to see what it still acknowledges.

use std::time::{Duration, Instant};

use crate::load::{Load, LoadOptions};
use crate::sql::Target;

/// Its statements have no deadline of their own worth the name.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bound to the old primary's own port from before the fault.
pub(super) struct SecondClient {
    load: Load,
}

/// When the old primary acknowledged, after the fault.
pub(super) struct OldAcknowledgements {
    times: Vec<Instant>,
}

impl SecondClient {
    pub(super) async fn begin(port: Target, writer: i32) -> anyhow::Result<Self> {
        let mut options = LoadOptions::new(writer, vec![port]);
        options.answer_within = PATIENCE;
        options.positions = false;
        let load = Load::resume(options);
        load.advance(20, PATIENCE).await?;
        Ok(Self { load })
    }

    /// Its acknowledgements on the timeline that it began on: later ones are the new primary's.
    pub(super) async fn end(self) -> anyhow::Result<OldAcknowledgements> {
        let origin = self.load.origin();
        let record = self.load.stop().await?;
        let first = record.acknowledged().find_map(|row| row.timeline);
        let old = record.acknowledged().filter(|row| row.timeline == first);
        Ok(OldAcknowledgements {
            times: old.map(|row| origin + row.ended).collect(),
        })
    }
}

impl OldAcknowledgements {
    pub(super) fn after(&self, at: Instant) -> usize {
        self.times.iter().filter(|time| **time > at).count()
    }

    /// Seconds from `at` to the last one; none is 0.
    pub(super) fn seconds_after(&self, at: Instant) -> f64 {
        let last = self.times.iter().max();
        last.map_or(0.0, |last| last.saturating_duration_since(at).as_secs_f64())
    }
}
