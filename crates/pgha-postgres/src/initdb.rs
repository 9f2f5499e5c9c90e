//! A new cluster (manual, "initdb").

use std::path::PathBuf;
use std::time::Duration;

use pgha_core::{Epoch, Secret, SystemIdentifier};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::{ControlData, ControlError};
use crate::files::{FileError, remove_durably, write_atomically};
use crate::job::{JobError, Progress, Run, run};
use crate::marker::{JobKind, Marker, MarkerError};
use crate::swap::{Displace, SwapError, clear_staging, swap_in};
use crate::{DataDirectory, InspectError, Installation, Layout, forget_rewound};

/// How a new cluster is made.
#[derive(Clone, Debug)]
pub struct InitdbOptions {
    /// The superuser's name.
    pub superuser: String,
    /// The superuser's password: for TCP, over the socket the operating system vouches.
    pub password: Secret,
    /// `C.UTF-8` unless somebody wants another: its order of text does not change with the
    /// operating system's libraries, so replicas on other releases keep valid indexes.
    pub locale: String,
    /// The epoch it is done for.
    pub epoch: Epoch,
    /// It is ended after so long without a word.
    pub stall_limit: Duration,
}

/// No cluster was made.
#[derive(Debug, thiserror::Error)]
pub enum InitdbError {
    /// Something is there.
    #[error(
        "{} is not empty ({what}): initdb is refused, nothing was touched; empty it, or set \
         postgres.data_dir to another directory", data_dir.display()
    )]
    Occupied {
        /// The data directory.
        data_dir: PathBuf,
        /// What is there.
        what: String,
    },
    /// The path could not be looked into.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The program failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The new control file could not be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The marker could not be put up or taken down.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// A file could not be worked on.
    #[error(transparent)]
    File(#[from] FileError),
    /// The new directory could not be put in its place.
    #[error(transparent)]
    Swap(#[from] SwapError),
}

/// Makes a cluster beside the data directory and renames it into place: a crash on the way leaves
/// no half of one. The data directory must be missing or empty. Flushed to disk by `initdb`.
pub async fn initdb(
    installation: &Installation,
    layout: &Layout,
    options: &InitdbOptions,
) -> Result<SystemIdentifier, InitdbError> {
    match DataDirectory::inspect(installation, &layout.data_dir)? {
        DataDirectory::Missing | DataDirectory::Empty => (),
        other => {
            let (data_dir, what) = (layout.data_dir.clone(), format!("{other:?}"));
            return Err(InitdbError::Occupied { data_dir, what });
        }
    }
    let mut marker = Marker::begin(&layout.run_dir, JobKind::Initdb, options.epoch)?;
    let staging = clear_staging(&layout.data_dir)?;
    // A file, because an argument or a variable of the environment can be read by others.
    let pwfile = layout.run_dir.join("initdb.password");
    write_atomically(
        &pwfile,
        format!("{}\n", options.password.expose()).as_bytes(),
    )?;
    let made = run_initdb(installation, options, &staging, &pwfile, &mut marker).await;
    remove_durably(&pwfile)?;
    made?;
    swap_in(&layout.data_dir, Displace::Keep(1))?;
    forget_rewound(&layout.run_dir)?;
    marker.finish()?;
    Ok(ControlData::read(installation, &layout.data_dir)?.system_identifier)
}

async fn run_initdb(
    installation: &Installation,
    options: &InitdbOptions,
    staging: &std::path::Path,
    pwfile: &std::path::Path,
    marker: &mut crate::MarkerGuard,
) -> Result<(), JobError> {
    let args = vec![
        format!("--pgdata={}", staging.display()),
        "--data-checksums".to_owned(),
        "--auth-local=peer".to_owned(),
        "--auth-host=scram-sha-256".to_owned(),
        "--encoding=UTF8".to_owned(),
        format!("--locale={}", options.locale),
        format!("--username={}", options.superuser),
        format!("--pwfile={}", pwfile.display()),
    ];
    let step = Run {
        kind: JobKind::Initdb,
        installation,
        program: "initdb",
        args,
        stall_limit: options.stall_limit,
        progress: &watch::Sender::new(Progress::default()),
        cancel: &CancellationToken::new(),
    };
    run(step, marker, |_| ()).await
}
