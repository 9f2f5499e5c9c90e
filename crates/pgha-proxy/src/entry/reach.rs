//! The hold queue: a connection waits here until somebody answers it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::attempt::{Failed, attempt, go_on};
use super::plan::{Candidate, Plan, plan};
use super::{End, Entry, Reached};
use crate::protocol::FirstPacket;
use crate::stats::{Gauge, count};

/// After a failed try with nothing changed: doubles up to the maximum.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Finds a server that answers `packet`, first of all `declined`, which has declined to encrypt.
/// Waits for changes of gate and routes until the hold time is over.
pub(super) async fn reach(
    entry: &mut Entry,
    packet: FirstPacket,
    declined: Option<Reached>,
) -> Result<Reached, End> {
    let started = Instant::now();
    let shared = entry.shared.clone();
    let mut ticks = shared.ticks.subscribe();
    let mut retry = RETRY_FIRST;
    let mut held = None;
    let mut declined = declined;
    loop {
        // Marked as seen before looking: a change in between ends the wait below at once.
        ticks.borrow_and_update();
        let routes = shared.routes();
        let deadline = started + routes.hold_timeout;
        let (why, again_at) = match declined.take() {
            Some(reached) => match go_on(&mut entry.client, reached, &shared).await {
                Ok(reached) => return Ok(reached),
                Err(Failed::Client) => return Err(End::Gone),
                Err(Failed::Server(why)) => (why, Instant::now()),
            },
            None => match plan(&shared, entry.port, &routes) {
                Plan::Hold(why) => (why, deadline),
                Plan::Try(candidates) => match try_each(entry, candidates).await {
                    Ok(reached) => return Ok(reached),
                    Err(Failed::Client) => return Err(End::Gone),
                    Err(Failed::Server(why)) => (why, Instant::now() + retry),
                },
            },
        };
        if shared.is_stopping() || Instant::now() >= deadline {
            return Err(End::Refused { packet, why });
        }
        if held.is_none() {
            held = Some(
                hold(&shared.stats.held_now, shared.limits.held_max).ok_or_else(|| {
                    let why = format!("{why}, and {} others wait already", shared.limits.held_max);
                    End::Refused { packet, why }
                })?,
            );
            count(&shared.stats.held_total);
        }
        let retry_at = again_at.min(deadline);
        loop {
            tokio::select! {
                _ = ticks.changed() => { retry = RETRY_FIRST; break }
                () = sleep_until(retry_at) => { retry = (retry * 2).min(RETRY_MAX); break }
                more = entry.client.read_more() => { more.map_err(|_| End::Gone)?; }
            }
        }
    }
}

fn hold(held_now: &std::sync::atomic::AtomicU64, max: usize) -> Option<Gauge<'_>> {
    Gauge::enter_below(held_now, max)
}

async fn try_each(entry: &mut Entry, candidates: Vec<Candidate>) -> Result<Reached, Failed> {
    let mut last = String::new();
    for candidate in candidates {
        match attempt(&mut entry.client, candidate, &entry.shared).await {
            Ok(reached) => return Ok(reached),
            Err(Failed::Client) => return Err(Failed::Client),
            Err(Failed::Server(why)) => last = why,
        }
    }
    Err(Failed::Server(last))
}
