//! Watches the running PostgreSQL through a session of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgha_core::decide::Probe;
use pgha_core::report::SlotReport;
use pgha_core::{Lsn, Mono, TimelineId};
use pgha_guard::clock;
use pgha_postgres::{Session, SessionError, WalTail, removed, session};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::Site;
use super::door::{Door, Shut};
use crate::lease::HolderShared;

/// One slow answer is not a hang; the next one is asked for at once.
const PROBE_MAX: Duration = Duration::from_secs(1);
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// While a standby streams: what may change is how far it is, which an election asks anew.
const STREAMING_INTERVAL: Duration = Duration::from_secs(1);
/// While a standby has no receiver.
const DETACHED_INTERVAL: Duration = Duration::from_millis(50);
/// Between tries to connect to a PostgreSQL that is starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// What the prober saw.
#[derive(Clone, Debug)]
pub(crate) enum ProbeReport {
    /// PostgreSQL answered on the kept session; of a primary also since when it lets nobody in, if so.
    Answer(Box<Probe>, Option<Shut>),
    /// It did not, although it runs; since when.
    Silent { since: Mono, error: String },
    /// Its data directory is gone.
    Removed,
}

/// A running prober; ends when dropped.
pub(crate) struct Prober {
    _tasks: JoinSet<()>,
    again: Arc<Notify>,
    tail: Arc<Mutex<WalTail>>,
}

impl Prober {
    /// Begins to watch the PostgreSQL that was just started.
    pub(crate) fn start(
        site: &Arc<Site>,
        shared: Arc<HolderShared>,
        flush_interval: Duration,
        reports: mpsc::UnboundedSender<ProbeReport>,
    ) -> Self {
        let again = Arc::new(Notify::new());
        let tail = Arc::new(Mutex::new(WalTail::new(&site.layout)));
        let mut tasks = JoinSet::new();
        let (there, tell) = (Arc::clone(site), reports.clone());
        tasks.spawn(async move {
            removed(&there.layout.data_dir).await;
            let _ = tell.send(ProbeReport::Removed);
        });
        let run = Run {
            site: Arc::clone(site),
            shared,
            flush_interval,
            reports,
            again: Arc::clone(&again),
            tail: Arc::clone(&tail),
            silent_since: None,
        };
        tasks.spawn(run.run());
        Self {
            _tasks: tasks,
            again,
            tail,
        }
    }

    /// The newest WAL of the primary that was watched.
    pub(crate) fn tail(&self) -> Arc<Mutex<WalTail>> {
        Arc::clone(&self.tail)
    }

    /// Something changed: look at once.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }
}

struct Run {
    site: Arc<Site>,
    shared: Arc<HolderShared>,
    flush_interval: Duration,
    reports: mpsc::UnboundedSender<ProbeReport>,
    again: Arc<Notify>,
    tail: Arc<Mutex<WalTail>>,
    /// When the first of the questions was asked that nobody has answered since.
    silent_since: Option<Mono>,
}

impl Run {
    async fn run(mut self) {
        loop {
            let asked = clock::now();
            match Session::connect(&self.site.session_options(), PROBE_MAX).await {
                Ok(session) => self.watch(session).await,
                // Starting, or a table full of connections: neither is silence.
                Err(SessionError::Refused(_) | SessionError::Starting(_)) => {}
                Err(SessionError::TooManyConnections(_)) => self.silent_since = None,
                Err(error) => self.silent(&error, asked, None),
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    }

    async fn watch(&mut self, mut session: Session) {
        let mut door = None;
        loop {
            let mut interval = PROBE_INTERVAL;
            let asked = clock::now();
            let primary = match session.probe(PROBE_MAX).await {
                Ok(probe) => {
                    self.silent_since = None;
                    let primary = (!probe.in_recovery).then_some(probe.timeline);
                    if let Some(flush) = probe.flush {
                        self.flushed(probe.timeline, flush);
                    }
                    match &probe.receiver {
                        _ if primary.is_some() => {}
                        None => interval = DETACHED_INTERVAL,
                        Some(receiver) if receiver.status == "streaming" => {
                            interval = STREAMING_INTERVAL;
                        }
                        Some(_) => {}
                    }
                    door = if primary.is_some() {
                        door.or_else(|| Some(Door::watch(self.site.session_options())))
                    } else {
                        None
                    };
                    let shut = door.as_ref().and_then(Door::shut);
                    let answer = Box::new(translate(probe));
                    let _ = self.reports.send(ProbeReport::Answer(answer, shut));
                    primary
                }
                Err(error) => {
                    self.silent(&error, asked, door.as_ref().and_then(Door::shut));
                    None
                }
            };
            if session.is_closed() {
                return;
            }
            if let Some(timeline) = primary {
                self.follow_flush(&session, timeline).await;
            } else {
                self.pause(interval).await;
            }
        }
    }

    /// Between two probes of a primary: its flush position for each renewal of the lease.
    async fn follow_flush(&mut self, session: &Session, timeline: TimelineId) {
        let until = clock::now() + PROBE_INTERVAL;
        while clock::now() < until {
            if self.pause(self.flush_interval).await {
                return;
            }
            let asked = clock::now();
            match session.flush_lsn(PROBE_MAX).await {
                Ok(flush) => self.flushed(timeline, flush),
                Err(_) => {
                    // The probe that comes next tells, if that is not answered either.
                    self.silent_since.get_or_insert(asked);
                    return;
                }
            }
        }
    }

    /// True where somebody asked to look again.
    async fn pause(&self, span: Duration) -> bool {
        tokio::time::timeout(span, self.again.notified())
            .await
            .is_ok()
    }

    fn flushed(&self, timeline: TimelineId, flush: Lsn) {
        self.shared.flush_lsn.store(flush.0, Ordering::Release);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.hold(timeline, flush);
    }

    /// What was `asked` got no answer.
    fn silent(&mut self, error: &SessionError, asked: Mono, shut: Option<Shut>) {
        let since = *self.silent_since.get_or_insert(asked);
        let since = shut.map_or(since, |shut| shut.since.min(since));
        let _ = self.reports.send(ProbeReport::Silent {
            since,
            error: error.to_string(),
        });
    }
}

fn translate(probe: session::Probe) -> Probe {
    let end = probe.end();
    Probe {
        at: clock::now(),
        in_recovery: probe.in_recovery,
        timeline: probe.timeline,
        received: end,
        replayed: if probe.in_recovery {
            probe.replay.unwrap_or_default()
        } else {
            end
        },
        streaming: probe
            .receiver
            .as_ref()
            .is_some_and(|r| r.status == "streaming"),
        checkpointed: (!probe.in_recovery).then_some(probe.checkpointed),
        slots: probe
            .slots
            .into_iter()
            .filter(|slot| slot.physical && slot.name.starts_with("pgha_"))
            .map(|slot| SlotReport {
                lost: slot.wal_status.as_deref() == Some("lost"),
                name: slot.name,
                restart_lsn: slot.restart,
            })
            .collect(),
        restart_pending: Vec::new(),
        replay_paused: probe.replay_paused,
    }
}
