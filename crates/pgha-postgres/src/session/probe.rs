//! What a PostgreSQL is and where it stands.

use std::time::Duration;

use pgha_core::{Lsn, SystemIdentifier, TimelineId};

use super::rows::{Row, Rows};
use super::{Session, SessionError, probe_sql};

/// One observation of a PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// A standby, or a primary that has not finished its recovery.
    pub in_recovery: bool,
    /// The timeline of the end of its WAL. Not the control file's, which shows the old one for
    /// more than a second after a promotion.
    pub timeline: TimelineId,
    /// Primary: where the next record goes.
    pub current: Option<Lsn>,
    /// Primary: flushed to disk up to here.
    pub flush: Option<Lsn>,
    /// Standby: received and flushed up to here since it was started; none before the first.
    pub receive: Option<Lsn>,
    /// Standby: replayed up to here.
    pub replay: Option<Lsn>,
    /// Standby: replay is paused.
    pub replay_paused: bool,
    /// Standby: what the startup process waits for, where it waits.
    pub startup_wait: Option<String>,
    /// Standby: its WAL receiver.
    pub receiver: Option<Receiver>,
    /// Everybody who streams from here.
    pub walsenders: Vec<WalSender>,
    /// Replication slots.
    pub slots: Vec<Slot>,
    /// Start of the postmaster, in microseconds of its wall clock: tells one run from another.
    pub started_at_micros: i64,
    /// Timeline of the last checkpoint, as the control file says.
    pub checkpointed: TimelineId,
    /// When this session last read the configuration, by the same clock.
    pub loaded_at_micros: i64,
    /// Drawn by `initdb`.
    pub system_identifier: SystemIdentifier,
}

/// A WAL receiver (manual, 28.2.5 "`pg_stat_wal_receiver`").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its process.
    pub pid: i32,
    /// `starting`, `streaming`, `waiting`, `restarting` or `stopping`.
    pub status: String,
    /// The timeline it receives.
    pub timeline: TimelineId,
    /// Flushed up to here.
    pub flushed: Option<Lsn>,
    /// The slot it reads.
    pub slot: Option<String>,
    /// Whom it is connected to.
    pub host: Option<String>,
    /// And there which port.
    pub port: Option<u16>,
    /// Milliseconds since it last heard of its upstream.
    pub silent_ms: Option<i64>,
}

/// A WAL sender (manual, 28.2.4 "`pg_stat_replication`").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSender {
    /// Its process.
    pub pid: i32,
    /// How the standby calls itself.
    pub application_name: String,
    /// `startup`, `catchup`, `streaming`, `backup` or `stopping`.
    pub state: String,
    /// Sent up to here.
    pub sent: Option<Lsn>,
    /// Flushed by the standby up to here.
    pub flush: Option<Lsn>,
    /// Replayed by the standby up to here.
    pub replay: Option<Lsn>,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: String,
    /// What this process itself makes of `synchronous_standby_names`; after a reload the only
    /// proof that it acts on the new value.
    pub sync_priority: u32,
    /// Its start, by the clock of `loaded_at_micros`: one started after a reload acts on it.
    pub started_at_micros: i64,
}

/// A replication slot (manual, 54.19 "`pg_replication_slots`").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Physical; the others are the users'.
    pub physical: bool,
    /// Whether somebody reads it, and who.
    pub active_pid: Option<i32>,
    /// WAL is kept from here on.
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
}

impl Probe {
    /// The end of the WAL that is safe on this node's disk.
    pub fn end(&self) -> Lsn {
        self.flush
            .max(self.receive)
            .max(self.replay)
            .unwrap_or(Lsn::ZERO)
    }
}

/// The timeline of a standby, where nothing says it at the moment. Without a receiver it is only
/// told on a connection of its own, so it is kept as long as no record moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimelineMemory {
    run: i64,
    at: (Option<Lsn>, Option<Lsn>),
    timeline: TimelineId,
}

impl Session {
    /// Observes everything. `limit` is for each of its one or two questions.
    pub async fn probe(&mut self, limit: Duration) -> Result<Probe, SessionError> {
        let answer = self.query(&probe_sql::probe(), limit).await?;
        let [base, receiver, senders, slots] = answer.as_slice() else {
            return Err(SessionError::unexpected(format!(
                "{} results of 4",
                answer.len()
            )));
        };
        let base = base.one()?;
        let mut probe = parse_base(base)?;
        probe.receiver = receiver.first().map(parse_receiver).transpose()?;
        probe.walsenders = each(senders, parse_sender)?;
        probe.slots = each(slots, parse_slot)?;
        probe.timeline = match base.text("walfile") {
            Some(walfile) => timeline_of_walfile(walfile)?,
            None => {
                self.standby_timeline(&probe, control_timeline(base)?, limit)
                    .await
            }
        };
        Ok(probe)
    }

    /// The end of the WAL that is safe on this node's disk: cheap enough for every renewal.
    pub async fn flush_lsn(&self, limit: Duration) -> Result<Lsn, SessionError> {
        let text = self.value(probe_sql::FLUSH_LSN, limit).await?;
        let Some(text) = text else {
            return Ok(Lsn::ZERO);
        };
        text.parse()
            .map_err(|_| SessionError::unexpected(format!("position {text}")))
    }

    /// Timelines only grow along a line, so the highest of all that is known is the true one:
    /// what the receiver gets, what was seen before in this run, what replay has reached, and what
    /// the control file says.
    async fn standby_timeline(
        &mut self,
        probe: &Probe,
        control: TimelineId,
        limit: Duration,
    ) -> TimelineId {
        let at = (probe.receive, probe.replay);
        let before = self.timeline;
        let same_run = before.run == probe.started_at_micros;
        let known = if same_run {
            control.max(before.timeline)
        } else {
            control
        };
        let timeline = match &probe.receiver {
            Some(receiver) => known.max(receiver.timeline),
            None if same_run && before.at == at => known,
            None => match self.identify(limit).await {
                Ok(identity) => known.max(identity.timeline),
                // No free WAL sender, say. Not remembered, so the next probe asks again.
                Err(error) => {
                    tracing::debug!(%error, "cannot ask the standby for its timeline");
                    return known;
                }
            },
        };
        self.timeline = TimelineMemory {
            run: probe.started_at_micros,
            at,
            timeline,
        };
        timeline
    }
}

fn each<T>(
    rows: &Rows,
    parse: impl Fn(&Row) -> Result<T, SessionError>,
) -> Result<Vec<T>, SessionError> {
    rows.iter().map(parse).collect()
}

fn control_timeline(row: &Row) -> Result<TimelineId, SessionError> {
    let checkpoint: u32 = row.required("control_timeline")?;
    let recovery: Option<u32> = row.optional("recovery_timeline")?;
    Ok(TimelineId(checkpoint.max(recovery.unwrap_or(0))))
}

/// The first eight digits of a WAL file's name are its timeline, and for the file that is being
/// written it is the true one.
pub(super) fn timeline_of_walfile(name: &str) -> Result<TimelineId, SessionError> {
    let digits = name
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    digits
        .map(TimelineId)
        .ok_or_else(|| SessionError::unexpected(format!("WAL file {name}")))
}

fn parse_base(row: &Row) -> Result<Probe, SessionError> {
    Ok(Probe {
        in_recovery: row.flag("in_recovery"),
        timeline: TimelineId(0),
        current: row.optional("current_lsn")?,
        flush: row.optional("flush_lsn")?,
        receive: row.optional("receive_lsn")?,
        replay: row.optional("replay_lsn")?,
        replay_paused: row.flag("replay_paused"),
        startup_wait: row.text("startup_wait").map(str::to_owned),
        receiver: None,
        walsenders: Vec::new(),
        slots: Vec::new(),
        started_at_micros: row.required("started_at")?,
        checkpointed: TimelineId(row.required("control_timeline")?),
        loaded_at_micros: row.required("loaded_at")?,
        system_identifier: SystemIdentifier(row.required::<u64>("system_identifier")?),
    })
}

fn parse_receiver(row: &Row) -> Result<Receiver, SessionError> {
    Ok(Receiver {
        pid: row.required("pid")?,
        status: row.text("status").unwrap_or_default().to_owned(),
        timeline: TimelineId(row.optional("received_tli")?.unwrap_or(0)),
        flushed: row.optional("flushed_lsn")?,
        slot: row.text("slot_name").map(str::to_owned),
        host: row.text("sender_host").map(str::to_owned),
        port: row.optional("sender_port")?,
        silent_ms: row.optional("silent_ms")?,
    })
}

fn parse_sender(row: &Row) -> Result<WalSender, SessionError> {
    Ok(WalSender {
        pid: row.required("pid")?,
        application_name: row.text("application_name").unwrap_or_default().to_owned(),
        state: row.text("state").unwrap_or_default().to_owned(),
        sent: row.optional("sent_lsn")?,
        flush: row.optional("flush_lsn")?,
        replay: row.optional("replay_lsn")?,
        sync_state: row.text("sync_state").unwrap_or_default().to_owned(),
        sync_priority: row.optional("sync_priority")?.unwrap_or(0),
        started_at_micros: row.optional("started_at")?.unwrap_or(0),
    })
}

fn parse_slot(row: &Row) -> Result<Slot, SessionError> {
    Ok(Slot {
        name: row.required::<String>("slot_name")?,
        physical: row.text("slot_type") == Some("physical"),
        active_pid: row.optional("active_pid")?,
        restart: row.optional("restart_lsn")?,
        wal_status: row.text("wal_status").map(str::to_owned),
    })
}
