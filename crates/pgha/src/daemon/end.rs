//! How the process is told to end, and when it does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use pgha_raft::{Fatal, RaftNode};
use tokio::sync::{mpsc, watch};

use crate::agent::{Agent, Event};

/// A sidecar that was asked to end and could not hand over ends all the same after this.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Until the agent's task is gone.
const AGENT_ENDS_MAX: Duration = Duration::from_secs(1);

/// The first request to end, and every one after it.
pub(super) fn signals() -> anyhow::Result<(watch::Receiver<bool>, watch::Receiver<u64>)> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (shutdown, shutdown_view) = watch::channel(false);
    let (hurry, hurry_view) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.send_replace(true) {
                tracing::warn!("asked again to end");
                hurry.send_modify(|count| *count += 1);
            } else {
                tracing::info!("asked to end");
            }
        }
    });
    Ok((shutdown_view, hurry_view))
}

pub(super) async fn ended(mut shutdown: watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Passes every further request to end on to the agent.
pub(super) async fn pass_on(mut hurry: watch::Receiver<u64>, events: mpsc::UnboundedSender<Event>) {
    while hurry.changed().await.is_ok() {
        let _ = events.send(Event::Hurry);
    }
}

/// Until the agent has stopped everything, the time for that is over, Raft cannot go on, or `misplaced` says
/// why this process cannot be that member.
pub(super) async fn end(
    raft: &Arc<RaftNode>,
    agent: Agent,
    shutdown: watch::Receiver<bool>,
    misplaced: impl Future<Output = String>,
) -> anyhow::Result<()> {
    let mut fatal = raft.fatal();
    let mut agent = tokio::spawn(agent.run());
    let outcome = tokio::select! {
        outcome = &mut agent => return outcome.context("the agent ended"),
        () = async { ended(shutdown).await; tokio::time::sleep(STOP_MAX).await } => {
            tracing::warn!("nobody took over, or not everything stopped, within {STOP_MAX:?}: ending all the same");
            Ok(())
        }
        why = fatally(&mut fatal) => Err(anyhow!("{why}")),
        why = misplaced => Err(anyhow!("{why}")),
    };
    // One that runs while the runtime ends would panic at its next look at the clock.
    agent.abort();
    let _ended = tokio::time::timeout(AGENT_ENDS_MAX, agent).await;
    outcome
}

/// Raft that was ended on purpose has no reason to tell: this process is about to be another one.
async fn fatally(fatal: &mut watch::Receiver<Option<Fatal>>) -> String {
    let why = match fatal.wait_for(Option::is_some).await {
        Ok(why) => why.as_ref().map(ToString::to_string),
        Err(_) => None,
    };
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}
