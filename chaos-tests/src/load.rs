//! The insert client: one row every few milliseconds, every outcome recorded.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use pgha_core::Lsn;
use tokio::sync::watch;
use tokio_postgres::Statement;

use crate::sql::{ConnectError, Session, Target};
use crate::wait;

/// Connect and statement timeout of the client whose gaps are measured (design 8).
const PATIENCE: Duration = Duration::from_secs(1);

/// What the client knows about one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// ReadyForQuery came after the commit.
    Acknowledged,
    /// The server said no before it could have committed.
    Refused,
    /// Anything else: the row may be there or not.
    Unknown,
}

/// One row, never tried twice.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Which client.
    pub writer: i32,
    /// The client's counter.
    pub number: i64,
    /// Since the start of the load.
    pub sent: Duration,
    /// Since the start of the load.
    pub ended: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// End of WAL after the row and before its commit record, on its primary.
    pub before_commit: Option<Lsn>,
    /// End of WAL as the same session saw it after the commit.
    pub after_commit: Option<Lsn>,
    /// Timeline of the primary that took it.
    pub timeline: Option<u32>,
}

/// What one client did.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// In the order of sending.
    pub attempts: Vec<Attempt>,
    /// Connections that were not made, by kind or SQLSTATE.
    pub failed_connections: BTreeMap<String, u64>,
}

/// How to load.
#[derive(Clone)]
pub struct LoadOptions {
    /// Tried in turn when a connection fails.
    pub targets: Vec<Target>,
    /// Which client this is.
    pub writer: i32,
    /// Pause between two rows.
    pub every: Duration,
    /// Time to connect. The port holds for up to ten seconds; a patient client sees no refusal.
    pub connect_within: Duration,
    /// Time for a statement to be answered.
    pub answer_within: Duration,
    /// Ask for the end of WAL after each row, for the judgement of losses.
    pub positions: bool,
}

/// A running client.
pub struct Load {
    started: Instant,
    record: Arc<Mutex<Record>>,
    stop: watch::Sender<bool>,
    answer_within: Duration,
    task: tokio::task::JoinHandle<()>,
}

/// The table of all loads.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS pgha_load \
     (writer int, number bigint, PRIMARY KEY (writer, number))";
const INSERT: &str = "INSERT INTO pgha_load VALUES ($1, $2) \
     RETURNING pg_current_wal_insert_lsn()::text, \
     substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";
const POSITION: &str = "SELECT pg_current_wal_insert_lsn()::text";

impl LoadOptions {
    /// The client of design 8.
    pub const fn new(writer: i32, targets: Vec<Target>) -> Self {
        Self {
            targets,
            writer,
            every: Duration::from_millis(10),
            connect_within: PATIENCE,
            answer_within: PATIENCE,
            positions: true,
        }
    }
}

impl Load {
    /// Starts after the table was made.
    pub async fn start(options: LoadOptions) -> anyhow::Result<Self> {
        let first = options.targets.first().context("a load needs a port")?;
        first.run(TABLE).await?;
        Ok(Self::resume(options))
    }

    /// Starts on a table that is there.
    pub fn resume(options: LoadOptions) -> Self {
        let started = Instant::now();
        let record = Arc::new(Mutex::new(Record::default()));
        let (stop, stopped) = watch::channel(false);
        let answer_within = options.answer_within;
        let client = Client {
            options,
            started,
            record: Arc::clone(&record),
            stopped,
            number: 0,
        };
        Self {
            started,
            record,
            stop,
            answer_within,
            task: tokio::spawn(client.run()),
        }
    }

    /// Time since the start, the clock of the attempts.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The instant from which the attempts count.
    pub const fn origin(&self) -> Instant {
        self.started
    }

    /// Rows acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record
            .attempts
            .iter()
            .filter(|row| row.outcome == Outcome::Acknowledged)
            .count()
    }

    /// Waits until so many more rows were acknowledged: writes work again.
    pub async fn advance(&self, rows: usize, within: Duration) -> anyhow::Result<()> {
        let target = self.acknowledged() + rows;
        wait::until_true(&format!("{rows} more acknowledged rows"), within, || {
            self.acknowledged() >= target
        })
        .await
    }

    /// Ends the client after its current row; what it did.
    pub async fn stop(self) -> anyhow::Result<Record> {
        self.stop.send_replace(true);
        let patience = PATIENCE * 20 + self.answer_within;
        tokio::time::timeout(patience, self.task)
            .await
            .context("the load does not end")??;
        Ok(std::mem::take(
            &mut *self.record.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

struct Client {
    options: LoadOptions,
    started: Instant,
    record: Arc<Mutex<Record>>,
    stopped: watch::Receiver<bool>,
    number: i64,
}

struct Prepared {
    session: Session,
    insert: Statement,
    position: Statement,
}

impl Client {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(self.options.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut target = 0;
        let mut prepared: Option<Prepared> = None;
        while !*self.stopped.borrow() {
            tick.tick().await;
            let usable = match prepared.take() {
                Some(session) => session,
                None => match self.connect(target).await {
                    Some(session) => session,
                    None => {
                        target += 1;
                        continue;
                    }
                },
            };
            if self.insert(&usable).await {
                prepared = Some(usable);
            }
        }
    }

    async fn connect(&self, target: usize) -> Option<Prepared> {
        let targets = &self.options.targets;
        let target = &targets[target % targets.len()];
        let failure = match target.connect(self.options.connect_within).await {
            Ok(session) => match tokio::time::timeout(PATIENCE, prepare(session)).await {
                Ok(Ok(prepared)) => return Some(prepared),
                Ok(Err(error)) => format!("prepare: {}", code(&error)),
                Err(_) => "prepare: silent".to_owned(),
            },
            Err(error @ ConnectError::Refused(..)) => error
                .code()
                .map_or_else(|| "broken off".to_owned(), str::to_owned),
            Err(ConnectError::Silent(..)) => "silent".to_owned(),
            Err(ConnectError::Socket(_, error)) => error.kind().to_string(),
        };
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        *record.failed_connections.entry(failure).or_default() += 1;
        None
    }

    /// Sends one row; true where the session is still good.
    async fn insert(&mut self, prepared: &Prepared) -> bool {
        self.number += 1;
        let sent = self.started.elapsed();
        let Prepared {
            session,
            insert,
            position,
        } = prepared;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&self.options.writer, &self.number];
        let client = session.client();
        let answer = client.query_one(insert, &values);
        let row = tokio::time::timeout(self.options.answer_within, answer).await;
        let mut attempt = Attempt {
            writer: self.options.writer,
            number: self.number,
            sent,
            ended: self.started.elapsed(),
            outcome: Outcome::Unknown,
            before_commit: None,
            after_commit: None,
            timeline: None,
        };
        let mut good = true;
        match row {
            Ok(Ok(row)) => {
                attempt.outcome = Outcome::Acknowledged;
                attempt.before_commit = row.try_get(0).ok().and_then(position_of);
                attempt.timeline = row.try_get(1).ok().and_then(timeline_of);
                if self.options.positions {
                    attempt.after_commit = ask_position(session, position).await;
                }
            }
            Ok(Err(error)) => {
                attempt.outcome = judge(&error);
                good = false;
            }
            Err(_) => good = false,
        }
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.attempts.push(attempt);
        good
    }
}

async fn prepare(session: Session) -> Result<Prepared, tokio_postgres::Error> {
    let insert = session.client().prepare(INSERT).await?;
    let position = session.client().prepare(POSITION).await?;
    Ok(Prepared {
        session,
        insert,
        position,
    })
}

async fn ask_position(session: &Session, position: &Statement) -> Option<Lsn> {
    let asked = session.client().query_one(position, &[]);
    let row = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    row.try_get(0).ok().and_then(position_of)
}

fn position_of(text: &str) -> Option<Lsn> {
    Lsn::from_str(text).ok()
}

fn timeline_of(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn code(error: &tokio_postgres::Error) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), |state| state.code().to_owned())
}

/// Only what PostgreSQL says before it executes the statement is a definite no (manual, appendix A):
/// read only transaction, cannot connect now. An administrator's shutdown can hit a commit that
/// already waits, so it is unknown.
fn judge(error: &tokio_postgres::Error) -> Outcome {
    match error.code().map(|state| state.code()) {
        Some("25006" | "57P03") => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// A stretch without an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before.
    pub from: Duration,
    /// The first one after.
    pub to: Duration,
}

impl Gap {
    /// Its length.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

impl Record {
    /// The longest stretch without an acknowledgement that ended after `since`.
    pub fn longest_gap(&self, since: Duration) -> Option<Gap> {
        let acknowledged: Vec<Duration> = self.acknowledged().map(|row| row.ended).collect();
        acknowledged
            .windows(2)
            .map(|pair| Gap {
                from: pair[0],
                to: pair[1],
            })
            .filter(|gap| gap.to >= since)
            .max_by_key(Gap::length)
    }

    /// The acknowledged rows.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(|row| row.outcome == Outcome::Acknowledged)
    }

    /// Connections that were answered with a refusal, not merely given up by the client.
    pub fn refused_connections(&self) -> u64 {
        let given_up = |kind: &str| kind == "silent" || kind == "prepare: silent";
        self.failed_connections
            .iter()
            .filter(|(kind, _)| !given_up(kind))
            .map(|(_, n)| n)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ended_ms: u64, outcome: Outcome) -> Attempt {
        Attempt {
            writer: 1,
            number: 1,
            sent: Duration::ZERO,
            ended: Duration::from_millis(ended_ms),
            outcome,
            before_commit: None,
            after_commit: None,
            timeline: None,
        }
    }

    #[test]
    fn the_gap_spans_what_was_not_acknowledged() {
        use Outcome::{Acknowledged, Refused, Unknown};
        let attempts = [
            (0, Acknowledged),
            (900, Acknowledged),
            (1000, Acknowledged),
            (1010, Unknown),
            (1300, Refused),
            (1400, Acknowledged),
        ];
        let record = Record {
            attempts: attempts.map(|(at, outcome)| row(at, outcome)).to_vec(),
            failed_connections: BTreeMap::new(),
        };
        let after_fault = record.longest_gap(Duration::from_millis(1005));
        assert_eq!(
            after_fault.map(|gap| gap.length()),
            Some(Duration::from_millis(400))
        );
        let whole = record.longest_gap(Duration::ZERO);
        assert_eq!(
            whole.map(|gap| gap.length()),
            Some(Duration::from_millis(900))
        );
    }

    #[test]
    fn a_client_that_gave_up_was_not_refused() {
        let failed = [("silent", 3), ("57P03", 1), ("connection refused", 2)];
        let record = Record {
            attempts: Vec::new(),
            failed_connections: failed.map(|(kind, n)| (kind.to_owned(), n)).into(),
        };
        assert_eq!(record.refused_connections(), 3);
    }
}
