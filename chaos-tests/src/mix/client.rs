//! The life of one client of the mix.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{mpsc, watch};

use crate::mix::link::{Driver, Failure, Link};
use crate::mix::{Class, Doing, Stage};
use crate::sql::Target;

/// Longer than the ports hold, so that it is the port that gives up, if anybody.
const PATIENCE: Duration = Duration::from_secs(15);
/// A cancel request that comes too early is lost, so it is repeated.
const CANCEL_EVERY: Duration = Duration::from_millis(500);
const SLEEP: &str = "SELECT pg_sleep(600)";
/// PostgreSQL manual, appendix A: query canceled.
const CANCELLED: &str = "57014";

/// What became of one client.
#[derive(Debug, Clone)]
pub struct Fate {
    /// The session of before the fault still answered after it.
    pub session_kept: bool,
    /// The code that ended the session, where the server said one.
    pub session_code: Option<String>,
    /// Of a client in a transaction: it could commit, and its row is there.
    pub committed: Option<bool>,
    /// Statements that hung, and long ones that ended otherwise than by a cancel or a cut.
    pub odd_ends: Vec<String>,
    /// SQLSTATE or words of every attempt to connect again that was not answered with a session.
    pub refusals: Vec<String>,
    /// Time to the new session.
    pub reconnected_in: Duration,
}

pub(super) struct MixClient {
    pub(super) class: Class,
    pub(super) target: Target,
    pub(super) round: i32,
    pub(super) number: i32,
}

impl Fate {
    /// What the session met: `kept`, an SQLSTATE, or `cut` for an end without a word.
    pub fn met(&self) -> &str {
        match &self.session_code {
            _ if self.session_kept => "kept",
            Some(code) => code,
            None => "cut",
        }
    }
}

impl MixClient {
    pub(super) async fn run(
        self,
        mut told: watch::Receiver<Stage>,
        ready: mpsc::UnboundedSender<()>,
    ) -> anyhow::Result<Fate> {
        let Self {
            class: Class { driver, .. },
            target,
            ..
        } = &self;
        let opened = Link::open(*driver, target, PATIENCE).await;
        let mut link =
            opened.map_err(|failure| anyhow::anyhow!("before the fault: {failure:?}"))?;
        let mut fate = Fate {
            session_kept: false,
            session_code: None,
            committed: None,
            odd_ends: Vec::new(),
            refusals: Vec::new(),
            reconnected_in: Duration::ZERO,
        };
        match self.class.doing {
            Doing::Idle => {
                ready.send(())?;
                back(&mut told).await?;
                self.end_session(&mut fate, link.run("SELECT 1").await.map(drop));
            }
            Doing::InTransaction => {
                self.begin(&mut link).await?;
                ready.send(())?;
                back(&mut told).await?;
                let end = self.commit(&mut link).await;
                fate.committed = Some(end.is_ok());
                self.end_session(&mut fate, end);
            }
            Doing::Cancelling => {
                ready.send(())?;
                self.cancel_until_back(link, &mut told, &mut fate).await;
            }
        }
        self.come_back(&mut fate).await?;
        Ok(fate)
    }

    fn end_session(&self, fate: &mut Fate, end: Result<(), Failure>) {
        match end {
            Ok(()) => fate.session_kept = true,
            Err(failure) if failure.hangs() => fate.odd_ends.push(failure.text),
            Err(failure) => fate.session_code = failure.code,
        }
    }

    async fn begin(&self, link: &mut Link) -> anyhow::Result<()> {
        let insert = format!(
            "INSERT INTO pgha_mix VALUES ({}, {}, 'in transaction')",
            self.round, self.number
        );
        for sql in ["BEGIN", &insert] {
            link.run(sql)
                .await
                .map_err(|failure| anyhow::anyhow!("{sql}: {failure:?}"))?;
        }
        Ok(())
    }

    async fn commit(&self, link: &mut Link) -> Result<(), Failure> {
        link.run("SELECT 1").await?;
        link.run("COMMIT").await.map(drop)
    }

    /// Runs long statements and cancels them, on whatever session there is, until service is back.
    async fn cancel_until_back(
        &self,
        first: Link,
        told: &mut watch::Receiver<Stage>,
        fate: &mut Fate,
    ) {
        let mut link = Some(first);
        fate.session_kept = true;
        while *told.borrow() == Stage::Working {
            let Some(mut open) = link.take() else {
                link = Link::open(self.class.driver, &self.target, PATIENCE)
                    .await
                    .ok();
                if link.is_none() {
                    tokio::time::sleep(CANCEL_EVERY).await;
                }
                continue;
            };
            let end = sleep_and_cancel(&mut open).await;
            match &end {
                Err(failure) if failure.code.as_deref() == Some(CANCELLED) => {}
                Err(failure) if failure.came_too_early() => {}
                Err(failure) if failure.hangs() => {
                    fate.odd_ends.push(failure.text.clone());
                }
                Err(failure) => {
                    fate.session_kept = false;
                    fate.session_code = failure.code.clone();
                    continue;
                }
                Ok(_) => fate
                    .odd_ends
                    .push("the long statement ended by itself".to_owned()),
            }
            // psql ends with its first error.
            link = (self.class.driver == Driver::TokioPostgres).then_some(open);
        }
    }

    /// A new session, and the proof that it is the primary's.
    async fn come_back(&self, fate: &mut Fate) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut link = loop {
            match Link::open(self.class.driver, &self.target, PATIENCE).await {
                Ok(link) => break link,
                Err(failure) => {
                    fate.refusals.push(failure.code.unwrap_or(failure.text));
                    anyhow::ensure!(started.elapsed() < PATIENCE * 2, "no way back: {fate:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        fate.reconnected_in = started.elapsed();
        let insert = format!(
            "INSERT INTO pgha_mix VALUES ({}, {}, 'after') RETURNING pg_is_in_recovery()",
            self.round, self.number
        );
        let rows = link.run(&insert).await;
        let rows = rows.map_err(|failure| anyhow::anyhow!("the new session: {failure:?}"))?;
        anyhow::ensure!(
            rows == ["f"],
            "the new session is not the primary's: {rows:?}"
        );
        let row = format!(
            "SELECT count(*) FROM pgha_mix WHERE note = 'in transaction' \
             AND round = {} AND client = {}",
            self.round, self.number
        );
        let there = link
            .run(&row)
            .await
            .map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
        if let Some(committed) = fate.committed {
            let expected = if committed { "1" } else { "0" };
            anyhow::ensure!(
                there == [expected],
                "committed {committed}, but {there:?} rows"
            );
        }
        if self.class.doing == Doing::Cancelling {
            self.cancel_works(link).await?;
        }
        Ok(())
    }

    /// A few tries: where the machine is busy a request can come before its statement.
    async fn cancel_works(&self, first: Link) -> anyhow::Result<()> {
        let mut link = first;
        for _ in 0..5 {
            let end = sleep_and_cancel(&mut link).await;
            let Err(failure) = &end else {
                anyhow::bail!("the long statement ended by itself")
            };
            if failure.code.as_deref() == Some(CANCELLED) {
                return Ok(());
            }
            anyhow::ensure!(
                failure.came_too_early(),
                "no cancel after the fault: {failure:?}"
            );
            let opened = Link::open(self.class.driver, &self.target, PATIENCE).await;
            link = opened.map_err(|failure| anyhow::anyhow!("a session to cancel: {failure:?}"))?;
        }
        anyhow::bail!("five cancel requests came too early")
    }
}

/// Returns once the statement ended; the requests end with it.
async fn sleep_and_cancel(link: &mut Link) -> Result<Vec<String>, Failure> {
    let canceller = link.canceller();
    let requests = async {
        // The first look at a statement that has not begun yet would be for nothing, and ends psql.
        let mut tick =
            tokio::time::interval_at(tokio::time::Instant::now() + CANCEL_EVERY, CANCEL_EVERY);
        loop {
            tick.tick().await;
            canceller.send().await;
        }
    };
    tokio::select! {
        end = link.run(SLEEP) => end,
        never = requests => never,
    }
}

async fn back(told: &mut watch::Receiver<Stage>) -> anyhow::Result<()> {
    told.wait_for(|stage| *stage == Stage::ServiceIsBack)
        .await
        .context("the mix ended")?;
    Ok(())
}
