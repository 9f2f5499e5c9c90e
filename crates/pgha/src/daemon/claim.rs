//! Claims what this node has for one sidecar only: directories, ports, store, and whatever an earlier
//! sidecar left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pgha_guard::{Retire, TakeOver, tree};
use pgha_postgres::Installation;
use pgha_raft::{Store, StoreError};

use super::identity;
use super::ports::Bound;
use crate::config::Config;
use crate::formation::Formation;
use crate::rundir::{self, Held};
use crate::server::Site;

const EMPTY_MAX: Duration = Duration::from_secs(10);

const RETIRE: Retire = Retire {
    fast: Duration::from_secs(10),
    immediate: Duration::from_secs(3),
};

/// What no other process on this node has.
pub(super) struct Claimed {
    /// The locks, for as long as this process lives.
    pub(super) held: Held,
    /// None on a witness.
    pub(super) site: Option<Arc<Site>>,
    pub(super) bound: Bound,
    pub(super) store: Store,
    /// An earlier store was quarantined, and this one is new.
    damaged: bool,
}

impl Claimed {
    /// Refuses before anything is changed; then ends what an earlier sidecar left.
    pub(super) async fn claim(config: &Config) -> anyhow::Result<Self> {
        let held = rundir::prepare(config)?;
        tree::become_subreaper().context("cannot become a subreaper")?;
        tree::reap_inherited().context("cannot see the end of earlier children")?;
        let site = local_postgres(config)?;
        let bound = Bound::bind(config)?;
        let (store, damaged) = open_store(config)?;
        if let Some(binding) = store.binding() {
            identity::check(config, &binding)?;
        }
        if let Some(site) = site.clone() {
            tokio::task::spawn_blocking(move || take_over(&site)).await??;
            // What an earlier sidecar's PostgreSQL had of it is free by now.
            rundir::check_port(config)?;
        }
        rundir::write_pid(config)?;
        Ok(Self {
            held,
            site,
            bound,
            store,
            damaged,
        })
    }

    /// How this member stands towards a cluster.
    pub(super) fn formation(&self, config: &Arc<Config>) -> Formation {
        let (marked, identifier) = self.site.as_ref().map_or((false, None), |site| {
            (site.is_marked(), site.system_identifier())
        });
        Formation::new(
            Arc::clone(config),
            self.store.clone(),
            self.damaged,
            Store::ruled_out_by(&config.raft_dir()).unwrap_or_default(),
            marked,
            identifier,
        )
    }
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
        Err(error @ (StoreError::Quarantined { .. } | StoreError::RuledOut { .. })) => {
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
