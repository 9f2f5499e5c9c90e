//! Clients that connect, ask one question, leave and connect again, without pause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sql::{ConnectError, Session, Target};
use crate::wait;

/// Longer than the ports hold, so that it is the port that gives up, if anybody.
const PATIENCE: Duration = Duration::from_secs(15);

/// What one client met.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Logins that ended in a session.
    pub logins: u64,
    /// Logins that did not: refused, closed on the way, or silent.
    pub failed: Vec<String>,
    /// Sessions whose question was answered by a primary.
    pub answered: u64,
    /// Sessions that ended before their answer, by SQLSTATE or `closed`.
    pub ended: BTreeMap<String, u64>,
    /// Sessions that led to somebody who is no primary.
    pub astray: u64,
}

/// Clients that each go round their own list of ports.
pub struct Storm {
    stop: watch::Sender<bool>,
    clients: Vec<(Arc<Mutex<Tally>>, JoinHandle<()>)>,
}

impl Storm {
    /// Starts one client for each list of targets.
    pub fn start(rounds: Vec<Vec<Target>>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let clients = rounds
            .into_iter()
            .map(|targets| {
                let tally = Arc::default();
                let client = connect_for_ever(targets, Arc::clone(&tally), stopped.clone());
                (tally, tokio::spawn(client))
            })
            .collect();
        Self { stop, clients }
    }

    /// Waits until every client was answered so many more times.
    pub async fn advance(&self, answers: u64, within: Duration) -> anyhow::Result<()> {
        let goals: Vec<u64> = self.tallies().map(|seen| seen.answered + answers).collect();
        let what = format!("{answers} more answers to each client of the storm");
        wait::until_true(&what, within, || {
            self.tallies()
                .zip(&goals)
                .all(|(seen, goal)| seen.answered >= *goal)
        })
        .await
    }

    fn tallies(&self) -> impl Iterator<Item = Tally> {
        self.clients
            .iter()
            .map(|(tally, _)| tally.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Ends the clients after their present connections; what they met, in the order of the lists.
    pub async fn stop(self) -> anyhow::Result<Vec<Tally>> {
        self.stop.send_replace(true);
        let mut tallies = Vec::new();
        for (tally, client) in self.clients {
            tokio::time::timeout(PATIENCE * 2, client)
                .await
                .context("a client of the storm hangs")??;
            tallies.push(std::mem::take(
                &mut *tally.lock().unwrap_or_else(PoisonError::into_inner),
            ));
        }
        Ok(tallies)
    }
}

async fn connect_for_ever(
    targets: Vec<Target>,
    tally: Arc<Mutex<Tally>>,
    stopped: watch::Receiver<bool>,
) {
    for target in targets.iter().cycle() {
        if wait::is_over(&stopped) {
            return;
        }
        let opened = target.connect(PATIENCE).await;
        let asked = match &opened {
            Ok(session) => Some(ask(session).await),
            Err(_) => None,
        };
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match (opened, asked) {
            (Err(error), _) => tally.failed.push(describe(&error)),
            (Ok(_), answer) => {
                tally.logins += 1;
                match answer {
                    Some(Ok(false)) => tally.answered += 1,
                    Some(Ok(true)) => tally.astray += 1,
                    Some(Err(code)) => *tally.ended.entry(code).or_default() += 1,
                    None => {}
                }
            }
        }
    }
}

/// Whether the server is in recovery, or how the session ended.
async fn ask(session: &Session) -> Result<bool, String> {
    let question = "SELECT pg_is_in_recovery()";
    let answer = tokio::time::timeout(PATIENCE, session.client().query_one(question, &[])).await;
    match answer {
        Ok(Ok(row)) => row.try_get(0).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error
            .code()
            .map_or_else(|| "closed".to_owned(), |state| state.code().to_owned())),
        Err(_) => Err("silent".to_owned()),
    }
}

fn describe(error: &ConnectError) -> String {
    match error.code() {
        Some(code) => format!("{code}: {error:?}"),
        None => format!("{error:?}"),
    }
}
