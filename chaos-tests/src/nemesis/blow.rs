//! One fault while it lasts: how it begins, how it ends, and the proof that it struck.

use std::time::Instant;

use anyhow::Context;

use super::hands::{self, Held, NoEffect};
use super::{Entry, Lay};
use crate::cluster::Cluster;

/// A fault that was begun.
pub struct Blow {
    /// As scheduled.
    pub entry: Entry,
    /// Who was hit.
    pub victims: Vec<String>,
    /// When.
    pub struck: Instant,
    /// When it had ended, once it has.
    pub ended: Option<Instant>,
    /// It met nothing: it ended as it should, and nothing came of it.
    pub idle: bool,
    /// It has ended as it should.
    pub proved: bool,
    /// The epoch for which a victim's gate was open just before.
    pub served: Option<u64>,
    held: Held,
}

impl Blow {
    /// Strikes whoever has its place in `lay`; `now` tells who serves at this moment. An error means that
    /// it hit nothing.
    pub async fn strike(
        cluster: &mut Cluster,
        entry: Entry,
        lay: &Lay,
        now: &Lay,
    ) -> anyhow::Result<Self> {
        let victims = lay.names_at(entry.place);
        let hit = now.open.as_ref().filter(|(name, _)| victims.contains(name));
        let served = hit.map(|(_, epoch)| *epoch);
        let struck = Instant::now();
        let held = hands::begin(cluster, entry, &victims)
            .await
            .with_context(|| format!("{} of {victims:?}", entry.kind.name()))?;
        Ok(Self {
            entry,
            victims,
            struck,
            ended: None,
            idle: false,
            proved: false,
            served,
            held,
        })
    }

    /// When it has to be ended.
    pub fn due(&self) -> Instant {
        self.struck + self.entry.length
    }

    /// Whether to end it only means to wait for it.
    pub const fn ends_itself(&self) -> bool {
        matches!(self.held, Held::Switchover(_))
    }

    /// Ends it. An error means that it could not be ended, or did nothing while it lasted. `alone` says
    /// that no other fault was in its way.
    pub async fn end(&mut self, cluster: &mut Cluster, alone: bool) -> anyhow::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let outcome = hands::end(cluster, held, alone).await;
        self.ended = Some(Instant::now());
        self.proved = outcome.is_ok();
        self.idle = outcome.as_ref().is_err_and(anyhow::Error::is::<NoEffect>);
        outcome.with_context(|| {
            format!(
                "the end of {} of {:?}",
                self.entry.kind.name(),
                self.victims
            )
        })
    }
}

#[cfg(test)]
impl Blow {
    /// One that struck and ended so many milliseconds after `origin`.
    pub(crate) fn example(
        kind: super::Kind,
        victim: &str,
        origin: Instant,
        struck_ms: u64,
        ended_ms: u64,
    ) -> Self {
        let at = |ms| origin + std::time::Duration::from_millis(ms);
        Self {
            entry: Entry {
                at: std::time::Duration::ZERO,
                kind,
                place: super::Place::All,
                length: std::time::Duration::from_millis(ended_ms - struck_ms),
                dose: super::Dose::None,
            },
            victims: vec![victim.to_owned()],
            struck: at(struck_ms),
            ended: Some(at(ended_ms)),
            idle: false,
            proved: true,
            served: None,
            held: Held::Nothing,
        }
    }
}
