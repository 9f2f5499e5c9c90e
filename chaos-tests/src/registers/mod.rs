//! Clients that read, write and compare-and-set single values through the ports, and the judgement
//! whether one register for each key explains what they were told.
//!
//! Each write leaves a row of the load in the same transaction, so that in the end PostgreSQL itself
//! says which writes happened. That closes what a client could not know, and it tells what an
//! asynchronous failover rolled back.

mod client;
mod history;
mod linear;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sql::{Session, Target};
use client::Client;

pub use history::{Judgement, judge};

/// Keys of one round.
pub const KEYS: i32 = 8;
const END_WITHIN: Duration = Duration::from_secs(20);
/// The table of all registers.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS pgha_register (key int PRIMARY KEY, value bigint NOT NULL)";

/// Makes the registers from `first` on, each with a 0.
pub async fn prepare(session: &Session, first: i32) -> anyhow::Result<()> {
    let last = first + KEYS - 1;
    session.run(TABLE).await?;
    session
        .run(&format!(
            "INSERT INTO pgha_register SELECT key, 0 FROM generate_series({first}, {last}) AS key \
             ON CONFLICT DO NOTHING"
        ))
        .await
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// The value.
    Read,
    /// Another value.
    Write(i64),
    /// Another value where the present one is as expected.
    Swap {
        /// Expected.
        from: i64,
        /// To be set.
        to: i64,
    },
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// The value that was read.
    Value(i64),
    /// It was written.
    Done,
    /// The value was another one.
    Differs,
    /// Nothing, or an error that leaves it open.
    Nothing,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The client, by its number as a writer of rows.
    pub writer: i32,
    /// On which register.
    pub key: i32,
    /// What.
    pub asked: Asked,
    /// With what result.
    pub told: Told,
    /// Since the clock of the round began.
    pub sent: Duration,
    /// Since the clock of the round began.
    pub ended: Duration,
    /// End of WAL on the server before the commit, where it answered.
    pub before_commit: Option<pgha_core::Lsn>,
    /// Of the server, where it answered.
    pub timeline: Option<u32>,
}

/// The clients, at work.
pub struct Registers {
    done: Arc<Mutex<Vec<Operation>>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Registers {
    /// Starts one client for each port, on registers that are there. Keys and writers are numbered from
    /// `first` on; times count from `origin`.
    pub fn begin(targets: &[Target], first: i32, origin: Instant) -> Self {
        let done = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let mut targets = targets.to_vec();
        for writer in (first..).take(targets.len()) {
            let client = Client {
                targets: targets.clone(),
                writer,
                first_writer: first,
                origin,
                done: Arc::clone(&done),
                stopped: stopped.clone(),
            };
            tasks.push(tokio::spawn(client.run()));
            targets.rotate_left(1);
        }
        Self { done, stop, tasks }
    }

    /// Ends them; what they did, in the order of the ends.
    pub async fn end(self) -> anyhow::Result<Vec<Operation>> {
        self.stop.send_replace(true);
        for task in self.tasks {
            tokio::time::timeout(END_WITHIN, task)
                .await
                .context("a client of the registers does not end")??;
        }
        Ok(std::mem::take(
            &mut *self.done.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}
