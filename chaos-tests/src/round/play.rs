//! Carries a schedule out.

use std::time::{Duration, Instant};

use super::Blows;
use crate::cluster::Cluster;
use crate::nemesis::{Blow, Lay, NoEffect, Schedule};

/// What came of a schedule.
#[derive(Default)]
pub(super) struct Played {
    /// What struck.
    pub blows: Blows,
    /// What found nothing to strike, or did nothing while it lasted, with the reason.
    pub idle: Vec<String>,
    /// What did not end as it should, with the reason.
    pub missed: Vec<String>,
}

/// Strikes and ends everything in its time; a member that was made ready for a fault keeps it, whatever
/// its role is by then.
pub(super) async fn play(cluster: &mut Cluster, schedule: &Schedule, prepared: &Lay) -> Played {
    let began = Instant::now();
    let mut lay = prepared.clone();
    let mut played = Played::default();
    let alone = schedule.entries.len() == 1;
    for entry in &schedule.entries {
        played.end_due(cluster, alone, began + entry.at).await;
        sleep_until(began + entry.at).await;
        lay.refresh(cluster).await;
        let at = if entry.kind.is_prepared() {
            prepared
        } else {
            &lay
        };
        match Blow::strike(cluster, *entry, at, &lay).await {
            Ok(blow) => {
                eprintln!(
                    "  {:.1} s: {} of {:?}",
                    began.elapsed().as_secs_f64(),
                    entry.kind.name(),
                    blow.victims
                );
                played.blows.push(blow);
            }
            Err(error) => played.idle.push(format!("{error:#}")),
        }
    }
    let last = Instant::now() + Duration::from_secs(3600);
    played.end_due(cluster, alone, last).await;
    for index in 0..played.blows.len() {
        played.end(cluster, alone, index).await;
    }
    played
}

impl Played {
    /// Ends, in order, what has to end before `until`. What ends by itself is waited for last: nothing else
    /// may last longer for it.
    async fn end_due(&mut self, cluster: &mut Cluster, alone: bool, until: Instant) {
        loop {
            let lasting = self.blows.iter().enumerate();
            let lasting = lasting.filter(|(_, blow)| blow.ended.is_none() && !blow.ends_itself());
            let next = lasting.min_by_key(|(_, blow)| blow.due());
            let Some((index, due)) = next
                .map(|(index, blow)| (index, blow.due()))
                .filter(|(_, due)| *due < until)
            else {
                return;
            };
            sleep_until(due).await;
            self.end(cluster, alone, index).await;
        }
    }

    async fn end(&mut self, cluster: &mut Cluster, alone: bool, index: usize) {
        match self.blows[index].end(cluster, alone).await {
            Ok(()) => {}
            Err(error) if error.is::<NoEffect>() => self.idle.push(format!("{error:#}")),
            Err(error) => self.missed.push(format!("{error:#}")),
        }
    }
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}
