//! Who completes a write.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Desk, Server, Via, Write};
use crate::sql::{ConnectError, Session, Target};

/// The table of all looks; each row says who took it.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS pgha_sample (\
     via text, \
     started timestamptz DEFAULT pg_postmaster_start_time(), \
     address inet DEFAULT inet_server_addr(), \
     port int DEFAULT inet_server_port(), \
     timeline text DEFAULT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), \
     epoch bigint)";
const INSERT: &str = "INSERT INTO pgha_sample (via, epoch) VALUES ($1, $2) RETURNING \
     (extract(epoch FROM started) * 1000000)::bigint, host(address) || ':' || port, timeline";
const ADDRESS: &str = "SELECT host(inet_server_addr()) || ':' || inet_server_port()";
/// What is stored of one epoch on more than one server, or on one that was started again.
const TWO_STARTS: &str = "SELECT format('epoch %s: %s', epoch, string_agg(DISTINCT \
     format('%s:%s started %s', host(address), port, started), ' and ')) FROM pgha_sample \
     WHERE epoch IS NOT NULL GROUP BY epoch HAVING count(DISTINCT (address, port, started)) > 1";
/// A port holds who comes while there is no primary, and a server that hangs lets nobody in: whoever waits
/// for them for long does not look.
const LOGIN_WITHIN: Duration = Duration::from_millis(500);
/// Between two logins: a machine whose clients all log in again and again does nothing else.
const LOGIN_EVERY: Duration = Duration::from_millis(200);
/// A write that takes longer goes on by itself, and the lane goes on without it.
const HELD_UP: Duration = Duration::from_millis(500);
/// Longer, an answer says little about when it happened.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A session and who is behind it.
struct Line {
    session: Session,
    /// The member whose server it is, by the server's own word.
    member: Option<String>,
    /// On the sampler's clock.
    opened: Duration,
}

struct Looker {
    desk: Desk,
    via: Via,
    target: Target,
    /// Writes that were not waited for.
    late: Vec<JoinHandle<Option<Line>>>,
}

pub(super) async fn look(desk: Desk, via: Via, target: Target) {
    let mut looker = Looker {
        desk,
        via,
        target,
        late: Vec::new(),
    };
    let mut tick = super::ticks();
    let mut line = None;
    while !looker.desk.is_over() {
        tick.tick().await;
        line = match line.take() {
            Some(line) => looker.write(line).await,
            None => looker.log_in().await,
        };
    }
    for late in looker.late {
        finished(late.await);
    }
}

impl Looker {
    fn begin(&mut self) {
        let at = self.desk.origin.elapsed();
        let via = self.via.clone();
        self.desk
            .keep(|seen| seen.lanes.entry(via).or_default().looks.push(at));
    }

    async fn log_in(&mut self) -> Option<Line> {
        let next = tokio::time::Instant::now() + LOGIN_EVERY;
        self.begin();
        let login = async {
            let session = self.target.connect(LOGIN_WITHIN).await?;
            let answer = session.client().query_one(ADDRESS, &[]).await;
            let address = answer.ok().and_then(|row| row.try_get(0).ok());
            Ok(Line {
                member: address
                    .and_then(|address: String| self.desk.members.get(&address).cloned()),
                session,
                opened: self.desk.origin.elapsed(),
            })
        };
        match tokio::time::timeout(LOGIN_WITHIN, login).await {
            Ok(Ok(line)) => return Some(line),
            Ok(Err(error)) if is_answer(&error) => answered(&self.desk, &self.via),
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep_until(next).await;
        None
    }

    /// The session, where it can be used at once: the write was acknowledged, or refused in recovery.
    async fn write(&mut self, line: Line) -> Option<Line> {
        self.begin();
        self.late.retain(|late| !late.is_finished());
        let mut task = tokio::spawn(write(self.desk.clone(), self.via.clone(), line));
        match tokio::time::timeout(HELD_UP, &mut task).await {
            Ok(outcome) => finished(outcome),
            Err(_) => {
                self.late.push(task);
                None
            }
        }
    }
}

/// By the server or the port, or by the host where nobody listens.
fn is_answer(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused(_, why) => why.code().is_some(),
        ConnectError::Socket(_, why) => why.kind() == std::io::ErrorKind::ConnectionRefused,
        ConnectError::Silent(..) => false,
    }
}

fn finished<T>(outcome: Result<Option<T>, tokio::task::JoinError>) -> Option<T> {
    outcome.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => None,
    })
}

fn answered(desk: &Desk, via: &Via) {
    let at = desk.origin.elapsed();
    desk.keep(|seen| seen.lanes.entry(via.clone()).or_default().answers.push(at));
}

/// The epoch for which the gate of the session's member is open. Asked before the session was there, it may
/// be that of the server before this one.
fn epoch(desk: &Desk, line: &Line) -> Option<u64> {
    let gate = *desk.gates().get(line.member.as_ref()?)?;
    gate.epoch.filter(|_| gate.sent >= line.opened)
}

async fn write(desk: Desk, via: Via, line: Line) -> Option<Line> {
    let epoch = epoch(&desk, &line);
    let stored = epoch.and_then(|epoch| i64::try_from(epoch).ok());
    let label = via.to_string();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&label, &stored];
    let sent = desk.origin.elapsed();
    let answer = line.session.client().query_one(INSERT, &values);
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(Ok(row)) => {
            let ended = desk.origin.elapsed();
            answered(&desk, &via);
            let server = server(&row)?;
            desk.keep(|seen| {
                seen.writes.push(Write {
                    via,
                    sent,
                    ended,
                    server,
                    epoch,
                });
            });
            Some(line)
        }
        Ok(Err(error)) => {
            let code = error.code()?;
            answered(&desk, &via);
            (code.code() == "25006").then_some(line)
        }
        Err(_) => None,
    }
}

fn server(row: &tokio_postgres::Row) -> Option<Server> {
    let timeline: String = row.try_get(2).ok()?;
    Some(Server {
        started_us: row.try_get(0).ok()?,
        address: row.try_get(1).ok()?,
        timeline: u32::from_str_radix(&timeline, 16).ok()?,
    })
}

/// What the rows that are there tell of an epoch that had two starts, in words: also the rows whose
/// acknowledgement nobody heard. The gate was open for that epoch while the server of the row ran.
pub async fn two_starts(primary: &Target) -> anyhow::Result<Vec<String>> {
    let session = primary.connect(ANSWER_WITHIN).await?;
    let rows = session.rows(TWO_STARTS).await?;
    rows.iter()
        .map(|row| {
            Ok(format!(
                "two starts in one epoch, stored: {}",
                row.try_get::<_, String>(0)?
            ))
        })
        .collect()
}
