//! Fifty clients of every kind beside a fault: what becomes of each kind is a table in the test.

mod client;
mod libpq;
mod link;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::sql::{Target, Tls};
use crate::trial::Companion;
use crate::wait;

pub use client::Fate;
pub use link::Driver;

/// Clients of each class: 12 classes make 48, two insert loads make 50.
const CLIENTS_PER_CLASS: usize = 4;
/// All clients connected and at their work, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(40);
/// Fate of the old session, a new one, and its proof: longer than the hold of the ports.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What a client does when the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Between two statements, outside a transaction.
    Idle,
    /// Inside a transaction that has inserted a row.
    InTransaction,
    /// Running long statements and cancelling them.
    Cancelling,
}

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Which library.
    pub driver: Driver,
    /// Encrypted end to end, or plain.
    pub tls: bool,
    /// What it does.
    pub doing: Doing,
}

/// Where the clients are, as they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connect and begin to work.
    Working,
    /// The fault struck and writes work again: tell what became of the session, get a new one.
    ServiceIsBack,
}

/// The running clients.
pub struct Mix {
    stage: watch::Sender<Stage>,
    clients: Vec<(Class, tokio::task::JoinHandle<anyhow::Result<Fate>>)>,
    fates: BTreeMap<Class, Vec<Fate>>,
}

/// The classes, in the order of the table.
pub fn classes() -> Vec<Class> {
    let mut all = Vec::new();
    for doing in [Doing::Idle, Doing::InTransaction, Doing::Cancelling] {
        for driver in [Driver::Libpq, Driver::TokioPostgres] {
            all.extend([false, true].map(|tls| Class { driver, tls, doing }));
        }
    }
    all
}

impl Mix {
    /// Connects all clients to `targets` in turn and waits until each is at its work. `round`
    /// tells the rows of one mix from another's.
    pub async fn start(tls: &Tls, targets: &[Target], round: i32) -> anyhow::Result<Self> {
        let setup = "CREATE TABLE IF NOT EXISTS pgha_mix (round int, client int, note text)";
        targets
            .first()
            .context("a mix needs a port")?
            .run(setup)
            .await?;
        let (stage, told) = watch::channel(Stage::Working);
        let (ready, mut readiness) = tokio::sync::mpsc::unbounded_channel();
        let mut clients = Vec::new();
        for class in classes() {
            for _ in 0..CLIENTS_PER_CLASS {
                let number = i32::try_from(clients.len())?;
                let mut target = targets[clients.len() % targets.len()].clone();
                target.tls = class.tls.then(|| tls.clone());
                let client = client::MixClient {
                    class,
                    target,
                    round,
                    number,
                };
                let task = tokio::spawn(client.run(told.clone(), ready.clone()));
                clients.push((class, task));
            }
        }
        drop(ready);
        let all = async {
            for _ in 0..clients.len() {
                readiness
                    .recv()
                    .await
                    .context("a client of the mix failed before the fault")?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(READY_WITHIN, all)
            .await
            .context("the mix is not ready in time")??;
        let mix = Self {
            stage,
            clients,
            fates: BTreeMap::new(),
        };
        mix.await_sleepers(&targets[0]).await?;
        Ok(mix)
    }

    /// A cancel request that arrives before its statement does nothing, so statements come first.
    async fn await_sleepers(&self, target: &Target) -> anyhow::Result<()> {
        let count = "SELECT count(*) FROM pg_stat_activity \
                     WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
        wait::until("the long statements to run", READY_WITHIN, || async {
            let running: i64 = target.value(count).await?;
            anyhow::ensure!(running > 0, "none runs");
            Ok(())
        })
        .await
    }

    /// What became of every client, by class.
    pub const fn fates(&self) -> &BTreeMap<Class, Vec<Fate>> {
        &self.fates
    }
}

impl Companion for Mix {
    async fn service_is_back(&mut self) -> anyhow::Result<()> {
        self.stage.send_replace(Stage::ServiceIsBack);
        for (class, task) in self.clients.drain(..) {
            let fate = tokio::time::timeout(TOLD_WITHIN, task)
                .await
                .with_context(|| format!("{class:?} hangs"))??
                .with_context(|| format!("{class:?}"))?;
            self.fates.entry(class).or_default().push(fate);
        }
        Ok(())
    }
}
