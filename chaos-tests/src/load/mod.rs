//! The insert client: one row every few milliseconds, every outcome recorded.

mod client;
mod record;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;

use crate::sql::Target;
use crate::wait;
use client::Client;

pub use record::{Attempt, Gap, Outcome, Record};

/// Connect and statement timeout of the client whose gaps are measured (design 8).
const PATIENCE: Duration = Duration::from_secs(1);

/// The table of all loads.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS pgha_load \
     (writer int, number bigint, PRIMARY KEY (writer, number))";

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
