//! Carries a schedule out.

use std::time::{Duration, Instant};

use super::Blows;
use crate::cluster::Cluster;
use crate::nemesis::{Blow, Lay, Schedule};

/// Strikes and ends everything in its time; a member that was made ready for a fault keeps it, whatever
/// its role is by then. What struck, and what did not, with the reason.
pub(super) async fn play(
    cluster: &mut Cluster,
    schedule: &Schedule,
    prepared: &Lay,
) -> (Blows, Vec<String>) {
    let began = Instant::now();
    let mut lay = prepared.clone();
    let mut blows: Blows = Vec::new();
    let mut missed = Vec::new();
    for entry in &schedule.entries {
        end_due(cluster, &mut blows, &mut missed, began + entry.at).await;
        sleep_until(began + entry.at).await;
        lay.refresh(cluster).await;
        let at = if entry.kind.is_prepared() {
            prepared
        } else {
            &lay
        };
        match Blow::strike(cluster, *entry, at).await {
            Ok(blow) => {
                eprintln!(
                    "  {:.1} s: {} of {:?}",
                    began.elapsed().as_secs_f64(),
                    entry.kind.name(),
                    blow.victims
                );
                blows.push(blow);
            }
            Err(error) => missed.push(format!("{error:#}")),
        }
    }
    let last = Instant::now() + Duration::from_secs(3600);
    end_due(cluster, &mut blows, &mut missed, last).await;
    (blows, missed)
}

/// Ends, in order, what has to end before `until`.
async fn end_due(
    cluster: &mut Cluster,
    blows: &mut Blows,
    missed: &mut Vec<String>,
    until: Instant,
) {
    loop {
        let lasting = blows.iter_mut().filter(|blow| blow.ended.is_none());
        let next = lasting.min_by_key(|blow| blow.struck + blow.entry.length);
        let Some(blow) = next.filter(|blow| blow.struck + blow.entry.length < until) else {
            return;
        };
        sleep_until(blow.struck + blow.entry.length).await;
        if let Err(error) = blow.end(cluster).await {
            missed.push(format!("{error:#}"));
        }
    }
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}
