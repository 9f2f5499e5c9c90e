//! Starts everything in the order that keeps a second process, a taken port or a bad directory from
//! disturbing the cluster, and ends it.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use pgha_core::command::Create;
use pgha_core::decide::{Data, Local, Me, Tree};
use pgha_core::{ClusterId, Command, MemberKind, Nonce, Reason, Secret, Settings};
use pgha_guard::{Retire, TakeOver, clock, tree};
use pgha_postgres::Installation;
use pgha_proxy::{ClusterTag, Gate, Limits, Ports, PortsConfig, ReadOnlyAdmission, Routes, Wiring};
use pgha_raft::{Options, RaftNode, RaftService, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Event, Parts};
use crate::config::Config;
use crate::formation::Formation;
use crate::http::{Health, router};
use crate::lease::{Grants, HolderShared, HolderThread, LeaseService, LeaseSlot};
use crate::peers::Peers;
use crate::server::{Site, Worker};
use crate::services::{AdminService, Joined, MemberService, Shared, forming};
use crate::wake::Wake;
use crate::{grpc, rejoin, rundir};

/// A sidecar that was asked to end and could not hand over ends all the same after this.
const STOP_MAX: Duration = Duration::from_secs(30);
const EMPTY_MAX: Duration = Duration::from_secs(10);
const RETIRE: Retire = Retire {
    fast: Duration::from_secs(10),
    immediate: Duration::from_secs(3),
};
const CREATE_MAX: Duration = Duration::from_secs(5);
const CREATE_PAUSE: Duration = Duration::from_millis(100);

/// Runs the sidecar until it is told to end, or cannot go on.
pub(crate) fn run(config: Config) -> ExitCode {
    // A half-alive sidecar is worse than a dead one: its guard knows what to do about that.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        std::process::abort();
    }));
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

/// Bound ports: from here on nothing that is taken can surprise.
struct Bound {
    grpc: TcpListener,
    http: TcpListener,
    ports: Ports,
}

impl Bound {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let listeners = &config.listeners;
        // Nobody is accepted before the cluster is known, so that no forwarded connection is
        // checked against this empty one.
        let ports_config = PortsConfig {
            cluster: ClusterTag::of(&ClusterId::default()),
            limits: Limits::default(),
        };
        Ok(Self {
            grpc: bind("listen", listeners.grpc)?,
            http: bind("http.listen", listeners.http)?,
            ports: Ports::bind(
                listeners.proxy_read_write,
                listeners.proxy_read_only,
                ports_config,
            )?,
        })
    }
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let started = clock::now();
    let nonce = Nonce(rand::random());
    let held = rundir::prepare(&config)?;
    tree::become_subreaper().context("cannot become a subreaper")?;
    let site = local_postgres(&config)?;
    let bound = Bound::bind(&config)?;
    let (store, damaged) = open_store(&config)?;
    if let Some(site) = site.clone() {
        tokio::task::spawn_blocking(move || take_over(&site)).await??;
        // What an earlier sidecar's PostgreSQL had of it is free by now.
        rundir::check_port(&config)?;
    }
    rundir::write_pid(&config)?;
    let (marked, identifier) = site.as_ref().map_or((false, None), |site| {
        (site.is_marked(), site.system_identifier())
    });
    let formation = Arc::new(Formation::new(
        Arc::clone(&config),
        store.clone(),
        nonce,
        damaged,
        marked,
        identifier,
    ));
    let (waiting, waiting_view) = watch::channel(forming());
    let shared = Shared {
        config: Arc::clone(&config),
        formation: Arc::clone(&formation),
        joined: Arc::new(OnceLock::new()),
        waiting: waiting_view,
    };
    let raft_service = RaftService::new();
    let lease_slot = LeaseSlot::default();
    grpc::start(
        bound.grpc,
        grpc::Services {
            raft: raft_service.clone(),
            lease: lease_slot.clone(),
            member: MemberService(shared.clone()),
            admin: AdminService(shared.clone()),
        },
    )?;
    let (shutdown, hurry) = signals()?;
    let gate = Arc::new(Gate::new());
    let holder_shared = Arc::new(HolderShared::new());
    let health = Health {
        shared: shared.clone(),
        gate: Arc::clone(&gate),
        holder: Arc::clone(&holder_shared),
        stats: bound.ports.stats(),
    };
    serve_http(bound.http, health)?;
    tracing::info!(
        name = %config.name, cluster = config.cluster, listen = %config.listeners.grpc,
        "the sidecar is up"
    );
    let outcome = tokio::select! {
        outcome = formation.run(&waiting) => outcome?,
        () = ended(shutdown.clone()) => return Ok(()),
    };
    let raft = RaftNode::start(store.clone(), Options::default(), &raft_service).await?;
    let raft = Arc::new(raft);
    let binding = store.binding().context("the store is bound by now")?;
    if outcome.initialize {
        raft.initialize(&binding.members)
            .await
            .or_else(|error| match error {
                pgha_raft::InitializeError::NotPristine(_) => Ok(()),
                other => Err(other),
            })?;
    }
    waiting.send_replace((Reason::Forming, "the Raft group is starting".to_owned()));
    tokio::spawn(found(
        Arc::clone(&raft),
        Arc::clone(&config),
        Arc::clone(&formation),
    ));
    tokio::spawn(rejoin::follow_members(Arc::clone(&raft)));
    let wake = Wake::default();
    let wait = raft.state().borrow().state.settings.start_wait();
    let grants = Arc::new(Grants::new(store.clone(), started, wait, wake.clone()));
    let _ = lease_slot.0.set(LeaseService {
        grants: Arc::clone(&grants),
        cluster_id: binding.cluster_id.clone(),
        generation: binding.generation,
        raft_id: binding.raft_id,
    });
    let holder = HolderThread {
        name: config.name.clone(),
        nonce,
        raft_id: binding.raft_id,
        store_id: store.store_id(),
        cluster_id: binding.cluster_id.clone(),
        generation: binding.generation,
        agent_stall: config.agent_stall,
        grants: Arc::clone(&grants),
        gate: Arc::clone(&gate),
        shared: Arc::clone(&holder_shared),
        wake: wake.clone(),
    };
    let holder = holder.start().context("no thread for the lease")?;
    let routes = watch::Sender::new(Arc::new(Routes::hold("the cluster is starting")));
    let admission = Arc::new(ReadOnlyAdmission::new());
    let ports_end = CancellationToken::new();
    let wiring = Wiring {
        gate: Arc::clone(&gate),
        admission: Arc::clone(&admission),
        routes: routes.subscribe(),
    };
    let ports = bound
        .ports
        .of_cluster(ClusterTag::of(&binding.cluster_id))
        .run(wiring, ports_end.clone());
    let ports = tokio::spawn(ports);
    let peers = Arc::new(Peers::new(
        config.name.clone(),
        Arc::clone(&raft),
        wake.clone(),
    ));
    let kind = if config.witness {
        MemberKind::Witness
    } else {
        MemberKind::Data
    };
    let agent = Agent::new(
        Parts {
            config: Arc::clone(&config),
            me: Me {
                name: config.name.clone(),
                nonce,
                kind,
            },
            raft: Arc::clone(&raft),
            grants: Arc::clone(&grants),
            holder,
            shared: holder_shared,
            gate,
            admission,
            routes,
            peers: Arc::clone(&peers),
            worker: site.clone().map(Worker::new),
            wake: wake.clone(),
            shutdown: shutdown.clone(),
        },
        Local {
            tree: Tree::Empty,
            data: Data::Unknown,
            ..Local::default()
        },
    );
    let events = agent.events();
    tokio::spawn(async move {
        let mut hurry = hurry;
        while hurry.changed().await.is_ok() {
            let _ = events.send(Event::Hurry);
        }
    });
    let published = agent.published();
    let joined = Joined {
        raft: Arc::clone(&raft),
        grants,
        peers,
        published,
        site,
    };
    let _ = shared.joined.set(joined);
    let end = end(&raft, agent, shutdown).await;
    ports_end.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(2), ports).await;
    drop(held);
    end
}

/// Until the agent has stopped everything, the time for that is over, or Raft cannot go on.
async fn end(
    raft: &Arc<RaftNode>,
    agent: Agent,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut fatal = raft.fatal();
    let agent = tokio::spawn(agent.run());
    tokio::select! {
        outcome = agent => outcome.context("the agent ended"),
        () = async { ended(shutdown).await; tokio::time::sleep(STOP_MAX).await } => {
            tracing::warn!("nobody took over within {STOP_MAX:?}: ending all the same");
            Ok(())
        }
        changed = fatal.wait_for(Option::is_some) => {
            let why = changed.ok().and_then(|fatal| fatal.as_ref().map(ToString::to_string));
            Err(anyhow!("{}", why.unwrap_or_else(|| "Raft has ended".to_owned())))
        }
    }
}

async fn ended(mut shutdown: watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The first request to end, and every one after it.
fn signals() -> anyhow::Result<(watch::Receiver<bool>, watch::Receiver<u64>)> {
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
                tracing::warn!("asked again to end: PostgreSQL is killed");
                hurry.send_modify(|count| *count += 1);
            } else {
                tracing::info!("asked to end");
            }
        }
    });
    Ok((shutdown_view, hurry_view))
}

fn bind(key: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = rundir::listen(key, address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Finds PostgreSQL and looks into the data directory, before anything is changed.
fn local_postgres(config: &Config) -> anyhow::Result<Option<Arc<Site>>> {
    if config.witness {
        return Ok(None);
    }
    let installation = Installation::find(config.postgres.bin_dir.as_deref())?;
    let site = Arc::new(Site::new(config, installation));
    rundir::check_data_dir(&site)?;
    // An earlier sidecar's PostgreSQL may still have it; it is taken over first.
    if !config.run_dir().join("guard.pid").exists() {
        rundir::check_port(config)?;
    }
    Ok(Some(site))
}

/// A store that was damaged is out of the way by now: this member comes back as somebody new.
fn open_store(config: &Config) -> anyhow::Result<(Store, bool)> {
    let dir = config.raft_dir();
    let store = match Store::open(&dir) {
        Err(error @ StoreError::Quarantined { .. }) => {
            tracing::error!("{error}");
            Store::open(&dir)?
        }
        other => other?,
    };
    let damaged = store.binding().is_none() && !Store::quarantines(&dir).is_empty();
    Ok((store, damaged))
}

/// Ends what an earlier sidecar left, before anything else is started.
fn take_over(site: &Site) -> anyhow::Result<()> {
    let options = pgha_guard::GuardOptions::new(&site.layout.run_dir, &site.layout.data_dir)?;
    let order = TakeOver {
        run_dir: site.layout.run_dir.clone(),
        scope: options.scope(),
        retire: RETIRE,
        empty_within: EMPTY_MAX,
    };
    let taken = pgha_guard::take_over(&order)?;
    if let Err(refused) = &taken.retired {
        tracing::warn!(%refused, "the guard of an earlier sidecar was killed");
    }
    Ok(())
}

/// Writes the cluster's first entry; on whoever leads, until it is there.
async fn found(raft: Arc<RaftNode>, config: Arc<Config>, formation: Arc<Formation>) {
    let mut settings = Settings::default();
    for (key, value) in &config.initial {
        if let Err(error) = settings.set(key, value) {
            tracing::warn!(%error, "an initial setting is ignored");
        }
    }
    let mut state = raft.state();
    while !state.borrow_and_update().state.is_created() {
        let leads = raft.role().borrow().is_leader;
        if let (true, Some(members)) = (leads, formation.listed_members()) {
            let binding = raft.store().binding();
            let Some(binding) = binding else { return };
            let create = Create {
                cluster: binding.cluster,
                cluster_id: binding.cluster_id,
                generation: binding.generation,
                members,
                settings: settings.clone(),
                replication_secret: Secret::new(format!("{:032x}", rand::random::<u128>())),
            };
            if let Err(error) = raft.propose(Command::Create(create), CREATE_MAX).await {
                tracing::debug!(%error, "the cluster's first entry was not written");
            }
        }
        let _ = tokio::time::timeout(CREATE_PAUSE, state.changed()).await;
    }
}

fn serve_http(listener: TcpListener, health: Health) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(health)).await {
            tracing::error!(%error, "HTTP ended");
        }
    });
    Ok(())
}
