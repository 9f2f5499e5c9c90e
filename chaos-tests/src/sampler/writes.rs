//! Who completes a write.

use std::time::Duration;

use super::{Desk, Server, Via, Write};
use crate::sql::{Session, Target};

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
/// A port holds who comes while there is no primary: that is not what is looked for. Nor is it what
/// becomes of a busy machine whose clients all give up and log in again.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// After a login that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer, an answer says little about when it happened.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn look(desk: Desk, via: Via, target: Target) {
    let label = match &via {
        Via::Port(name) => format!("port of {name}"),
        Via::Direct(name) => format!("server of {name}"),
    };
    let mut tick = super::ticks();
    let mut session = None;
    while !desk.is_over() {
        tick.tick().await;
        let usable = match session.take() {
            Some(usable) => usable,
            None => match target.connect(CONNECT_WITHIN).await {
                Ok(opened) => opened,
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        if write(&desk, &via, &label, &usable).await {
            session = Some(usable);
        }
    }
}

/// True where the session is still good: refused by a server in recovery, or acknowledged.
async fn write(desk: &Desk, via: &Via, label: &str, session: &Session) -> bool {
    let mut epoch = None;
    desk.keep(|seen| {
        seen.tried += 1;
        epoch = seen.open.iter().map(|open| open.epoch).max();
    });
    let epoch = epoch.and_then(|epoch| i64::try_from(epoch).ok());
    let sent = desk.origin.elapsed();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&label, &epoch];
    let answer = session.client().query_one(INSERT, &values);
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(Ok(row)) => {
            let ended = desk.origin.elapsed();
            let Some(server) = server(&row) else {
                return false;
            };
            desk.keep(|seen| {
                seen.writes.push(Write {
                    via: via.clone(),
                    sent,
                    ended,
                    server,
                });
            });
            true
        }
        Ok(Err(error)) => error.code().is_some_and(|code| code.code() == "25006"),
        Err(_) => false,
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
