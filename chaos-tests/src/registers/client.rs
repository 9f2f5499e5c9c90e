//! One client: one operation at a time on a key of its choice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::{Asked, KEYS, Operation, Told};
use crate::sql::{Session, Target};
use crate::wait;

/// Of a login, too: on a busy machine clients that give up and come again are what keeps it busy.
const PATIENCE: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(15);
/// Values of one client differ by this, so that no two clients write the same.
const CLIENTS_MAX: i64 = 16;

const READ: &str = "SELECT value, pg_current_wal_insert_lsn()::text, \
     substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) \
     FROM pgha_register WHERE key = $1";
/// Value and row in one transaction; who expects nothing passes null.
const WRITE: &str = "WITH done AS (\
       UPDATE pgha_register SET value = $2 WHERE key = $1 AND value = coalesce($3, value) RETURNING 1), \
     noted AS (INSERT INTO pgha_load (writer, number) SELECT $4, $2 FROM done RETURNING 1) \
     SELECT (SELECT count(*) FROM noted), pg_current_wal_insert_lsn()::text, \
       substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

pub(super) struct Client {
    pub(super) targets: Vec<Target>,
    pub(super) writer: i32,
    pub(super) first_writer: i32,
    pub(super) origin: Instant,
    pub(super) done: Arc<Mutex<Vec<Operation>>>,
    pub(super) stopped: watch::Receiver<bool>,
}

struct Prepared {
    session: Session,
    read: Statement,
    write: Statement,
}

impl Client {
    pub(super) async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rng = StdRng::seed_from_u64(self.writer.unsigned_abs().into());
        let mut ports = self.targets.iter().cycle();
        let mut session = None;
        let mut known = [0; KEYS as usize];
        let mut counter = 0;
        while !wait::is_over(&self.stopped) {
            tick.tick().await;
            if session.is_none() {
                let Some(port) = ports.next() else { return };
                session = connect(port).await;
            }
            let Some(usable) = session.take() else {
                continue;
            };
            let index = rng.random_range(0..KEYS as usize);
            counter += 1;
            let value = counter * CLIENTS_MAX + i64::from(self.writer - self.first_writer);
            let asked = match rng.random_range(0..10) {
                0..=4 => Asked::Read,
                5..=6 => Asked::Write(value),
                _ => Asked::Swap {
                    from: known[index],
                    to: value,
                },
            };
            let key = self.first_writer + i32::try_from(index).unwrap_or(0);
            let operation = self.operate(&usable, key, asked).await;
            match (operation.asked, operation.told) {
                (_, Told::Value(seen)) => known[index] = seen,
                (Asked::Write(to) | Asked::Swap { to, .. }, Told::Done) => known[index] = to,
                _ => {}
            }
            if operation.told != Told::Nothing {
                session = Some(usable);
            }
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(operation);
        }
    }

    async fn operate(&self, prepared: &Prepared, key: i32, asked: Asked) -> Operation {
        let sent = self.origin.elapsed();
        let answer = tokio::time::timeout(PATIENCE, self.ask(prepared, key, asked)).await;
        let answer = answer.ok().flatten();
        Operation {
            writer: self.writer,
            key,
            asked,
            told: answer.as_ref().map_or(Told::Nothing, |answer| answer.told),
            sent,
            ended: self.origin.elapsed(),
            before_commit: answer
                .as_ref()
                .and_then(|answer| answer.position.parse().ok()),
            timeline: answer.and_then(|answer| u32::from_str_radix(&answer.timeline, 16).ok()),
        }
    }

    async fn ask(&self, prepared: &Prepared, key: i32, asked: Asked) -> Option<Answer> {
        let client = prepared.session.client();
        let (value, expected) = match asked {
            Asked::Read => {
                let values: [&(dyn ToSql + Sync); 1] = [&key];
                let row = client.query_one(&prepared.read, &values).await.ok()?;
                return Answer::of(Told::Value(row.try_get(0).ok()?), &row);
            }
            Asked::Write(value) => (value, None),
            Asked::Swap { from, to } => (to, Some(from)),
        };
        let values: [&(dyn ToSql + Sync); 4] = [&key, &value, &expected, &self.writer];
        let row = client.query_one(&prepared.write, &values).await.ok()?;
        let noted: i64 = row.try_get(0).ok()?;
        Answer::of(
            if noted == 1 {
                Told::Done
            } else {
                Told::Differs
            },
            &row,
        )
    }
}

struct Answer {
    told: Told,
    position: String,
    timeline: String,
}

impl Answer {
    fn of(told: Told, row: &tokio_postgres::Row) -> Option<Self> {
        Some(Self {
            told,
            position: row.try_get(1).ok()?,
            timeline: row.try_get(2).ok()?,
        })
    }
}

async fn connect(port: &Target) -> Option<Prepared> {
    let session = port.connect(PATIENCE).await.ok()?;
    let prepare = async {
        let read = session.client().prepare(READ).await.ok()?;
        let write = session.client().prepare(WRITE).await.ok()?;
        Some((read, write))
    };
    let (read, write) = tokio::time::timeout(PATIENCE, prepare).await.ok()??;
    Some(Prepared {
        session,
        read,
        write,
    })
}
