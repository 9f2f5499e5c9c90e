//! Starts everything in the order that keeps a second process, a taken port or a bad directory from
//! disturbing the cluster, and ends it.

mod assemble;
mod claim;
mod clients;
mod end;
mod front;
mod generation;
mod group;
mod identity;
mod lease;
mod leave;
mod ports;
mod went_back;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pgha_core::{Mono, Nonce, Reason};
use pgha_guard::clock;
use tokio::sync::watch;

use crate::config::Config;
use crate::formation::Outcome;
use crate::rejoin;
use crate::services::forming;
use crate::wake::Wake;
use crate::written::OwnStore;
use assemble::{Links, assemble};
use claim::Claimed;
use front::Front;
use group::Group;
use lease::Lease;

/// Runs the sidecar until it is told to end, or cannot go on.
pub(crate) fn run(config: Config) -> ExitCode {
    // A half-alive sidecar is worse than a dead one: its guard knows what to do about that.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        std::process::abort();
    }));
    pgha_proxy::raise_file_limit();
    // One worker: it is idle nearly all the time, and a second one only means that each message wakes
    // two threads. Leases, ports and disk have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let outcome = runtime.context("no threads").and_then(|runtime| {
        let outcome = runtime.block_on(serve(Arc::new(config)));
        runtime.shutdown_timeout(Duration::from_millis(200));
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Who this process is.
struct Process {
    config: Arc<Config>,
    /// When it began: promises that an earlier one gave may live from then on.
    started: Mono,
    nonce: Nonce,
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let process = Process {
        config: Arc::clone(&config),
        started: clock::now(),
        nonce: Nonce(rand::random()),
    };
    // First: before it, a request to end kills this process, and an earlier sidecar's PostgreSQL may
    // take its time to stop.
    let (shutdown, hurry) = end::signals()?;
    let claimed = Claimed::claim(&config).await?;
    if *shutdown.borrow() {
        return Ok(());
    }
    let formation = Arc::new(claimed.formation(&config));
    let (waiting, waiting_view) = watch::channel(forming());
    let front = Front::open(&config, &formation, claimed.bound, waiting_view)?;
    tracing::info!(
        name = %config.name, cluster = config.cluster, listen = %config.listeners.grpc,
        "the sidecar is up"
    );
    let outcome = tokio::select! {
        outcome = formation.run(&waiting) => outcome?,
        () = end::ended(shutdown.clone()) => {
            front.clients.dismiss().await;
            return Ok(());
        }
    };
    let entry = match outcome {
        Outcome::Member(entry) => entry,
        Outcome::RuledOut(newer) => {
            generation::leave(config.raft_dir(), newer, leave::STARTING_MAX).await
        }
        Outcome::WentBack(proof) => {
            went_back::leave(config.raft_dir(), proof, leave::STARTING_MAX).await
        }
        Outcome::Replaced { was, by } => {
            went_back::leave_replaced(config.raft_dir(), was, by, leave::STARTING_MAX).await
        }
    };
    let group = Group::start(&claimed.store, &front.raft, entry).await?;
    waiting.send_replace((Reason::Forming, "the Raft group is starting".to_owned()));
    let raft = Arc::clone(&group.raft);
    tokio::spawn(group::found(Arc::clone(&raft), config, formation));
    tokio::spawn(rejoin::follow_members(
        Arc::clone(&raft),
        Arc::clone(&front.shared.joined),
    ));
    let wake = Wake::default();
    let lease = Lease::start(&process, &claimed.store, &group, &front, &wake)?;
    tokio::spawn(generation::watch(
        Arc::clone(&raft),
        group.binding.generation,
        Arc::clone(&front.gate),
        lease.holder.clone(),
        process.config.raft_dir(),
    ));
    let own_store = Arc::new(OwnStore::new(Arc::clone(&raft), process.nonce));
    tokio::spawn(went_back::watch(
        own_store.proof(),
        Arc::clone(&front.gate),
        lease.holder.clone(),
        process.config.raft_dir(),
    ));
    let clients = front.clients;
    clients.belong_to(&group.binding.cluster_id);
    let agent = assemble(
        &process,
        &front.shared,
        Links {
            raft: Arc::clone(&raft),
            own_store,
            lease,
            gate: front.gate,
            holder: front.holder,
            admission: Arc::clone(&clients.admission),
            routes: clients.routes.clone(),
            site: claimed.site,
            wake,
            shutdown: shutdown.clone(),
        },
    );
    tokio::spawn(end::pass_on(hurry, agent.events()));
    let own = identity::differs(&raft, &process.config, group.binding.raft_id);
    let end = end::end(&raft, agent, shutdown, own).await;
    clients.dismiss().await;
    drop(claimed.held);
    end
}
