//! The client itself: one session, one row at a time.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pgha_core::Lsn;
use tokio::sync::watch;
use tokio_postgres::Statement;

use super::{Attempt, LoadOptions, Outcome, PATIENCE, Record};
use crate::sql::{ConnectError, Session};
use crate::wait;

const INSERT: &str = "INSERT INTO pgha_load VALUES ($1, $2) \
     RETURNING pg_current_wal_insert_lsn()::text, \
     substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

const POSITION: &str = "SELECT pg_current_wal_insert_lsn()::text";

pub(super) struct Client {
    pub(super) options: LoadOptions,
    pub(super) started: Instant,
    pub(super) record: Arc<Mutex<Record>>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) number: i64,
}

struct Prepared {
    session: Session,
    insert: Statement,
    position: Statement,
}

impl Client {
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(self.options.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut target = 0;
        let mut prepared: Option<Prepared> = None;
        while !wait::is_over(&self.stopped) {
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
