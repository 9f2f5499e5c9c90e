//! Reads all rows of the loads again and again, as a client of the primary does.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_core::Lsn;
use tokio::sync::watch;

use crate::sql::{Session, Target};
use crate::wait;

const EVERY: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(2);
const END_WITHIN: Duration = Duration::from_secs(20);

/// The numbers of each writer as runs without a hole. The position is read after the snapshot was
/// taken: every commit that is seen lies before it.
const READ: &str = "WITH runs AS (\
       SELECT writer, min(number) AS first, max(number) AS last FROM (\
         SELECT writer, number, number - row_number() OVER (PARTITION BY writer ORDER BY number) AS run \
         FROM pgha_load WHERE writer >= $1) AS numbered \
       GROUP BY writer, run) \
     SELECT coalesce(string_agg(writer || ':' || first || ':' || last, ','), ''), \
       pg_current_wal_insert_lsn()::text, \
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) FROM runs";

/// Numbers of writers, as runs without a hole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs(BTreeMap<i32, Vec<(i64, i64)>>);

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Since the loads began.
    pub sent: Duration,
    /// Since the loads began.
    pub ended: Duration,
    /// Every commit that was seen lies before it, on this timeline.
    pub before: Lsn,
    /// The server's.
    pub timeline: u32,
    /// What was there.
    pub rows: Runs,
}

/// A client that reads until it is ended.
pub struct Reader {
    reads: Arc<Mutex<Vec<Read>>>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Runs {
    /// Whether that row was there.
    pub fn contains(&self, writer: i32, number: i64) -> bool {
        self.0.get(&writer).is_some_and(|runs| {
            let after = runs.partition_point(|(first, _)| *first <= number);
            after > 0 && runs[after - 1].1 >= number
        })
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64)> {
        self.0.iter().flat_map(|(writer, runs)| {
            let numbers = runs.iter().flat_map(|(first, last)| *first..=*last);
            numbers.map(|number| (*writer, number))
        })
    }
}

impl FromStr for Runs {
    type Err = anyhow::Error;

    /// `writer:first:last,...`, as the query makes it.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut runs: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
        for run in text.split(',').filter(|run| !run.is_empty()) {
            let mut parts = run.split(':');
            let mut next = || parts.next().with_context(|| format!("`{run}` is no run"));
            let (writer, first, last) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
            runs.entry(writer).or_default().push((first, last));
        }
        runs.values_mut().for_each(|runs| runs.sort_unstable());
        Ok(Self(runs))
    }
}

impl FromIterator<(i32, i64)> for Runs {
    fn from_iter<T: IntoIterator<Item = (i32, i64)>>(rows: T) -> Self {
        let mut runs: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
        for (writer, number) in rows {
            runs.entry(writer).or_default().push((number, number));
        }
        runs.values_mut().for_each(|runs| runs.sort_unstable());
        Self(runs)
    }
}

impl Reader {
    /// Reads the rows of all writers from `writer` on, through the ports in turn. Its times count from
    /// `origin`.
    pub fn begin(targets: Vec<Target>, writer: i32, origin: Instant) -> Self {
        let reads = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(read_for_ever(
            targets,
            writer,
            origin,
            Arc::clone(&reads),
            stopped,
        ));
        Self { reads, stop, task }
    }

    /// Ends it; what it read.
    pub async fn end(self) -> anyhow::Result<Vec<Read>> {
        self.stop.send_replace(true);
        tokio::time::timeout(END_WITHIN, self.task)
            .await
            .context("the reader does not end")??;
        Ok(std::mem::take(
            &mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

async fn read_for_ever(
    targets: Vec<Target>,
    writer: i32,
    origin: Instant,
    reads: Arc<Mutex<Vec<Read>>>,
    stopped: watch::Receiver<bool>,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ports = targets.iter().cycle();
    let mut session = None;
    while !wait::is_over(&stopped) {
        tick.tick().await;
        if session.is_none() {
            let Some(port) = ports.next() else { return };
            session = port.connect(PATIENCE).await.ok();
        }
        let Some(usable) = session.take() else {
            continue;
        };
        if let Some(read) = read(&usable, writer, origin).await {
            reads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(read);
            session = Some(usable);
        }
    }
}

async fn read(session: &Session, writer: i32, origin: Instant) -> Option<Read> {
    let sent = origin.elapsed();
    let from: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&writer];
    let answer = session.client().query_one(READ, &from);
    let row = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
    let ended = origin.elapsed();
    let text = |column| row.try_get::<_, String>(column).ok();
    Some(Read {
        sent,
        ended,
        before: text(1)?.parse().ok()?,
        timeline: u32::from_str_radix(&text(2)?, 16).ok()?,
        rows: text(0)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_what_they_say() -> anyhow::Result<()> {
        let runs: Runs = "1:5:7,1:1:3,2:9:9".parse()?;
        let held: Vec<_> = runs.iter().collect();
        let expected = [(1, 1), (1, 2), (1, 3), (1, 5), (1, 6), (1, 7), (2, 9)];
        assert_eq!(held, expected);
        for number in 0..10 {
            assert_eq!(runs.contains(1, number), expected.contains(&(1, number)));
        }
        assert!(!runs.contains(3, 1) && runs.contains(2, 9));
        assert!("1:2".parse::<Runs>().is_err());
        assert!("".parse::<Runs>()?.iter().next().is_none());
        Ok(())
    }
}
