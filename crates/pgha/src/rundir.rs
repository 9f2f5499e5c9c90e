//! The sidecar's own directory: made, checked and locked before anything else is touched.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use pgha_guard::clock;
use pgha_postgres::DataDirectory;

use crate::config::Config;
use crate::server::Site;

const LOCK_WAIT: Duration = Duration::from_millis(300);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// The locks on the sidecar's directory and on PostgreSQL's, held while it lives.
pub(crate) struct Held(#[allow(dead_code)] Vec<Flock<File>>);

/// Makes what is missing and takes the locks.
pub(crate) fn prepare(config: &Config) -> anyhow::Result<Held> {
    make(&config.data_dir, "data_dir")?;
    make(&config.run_dir(), "data_dir")?;
    let path = config.run_dir().join("pgha.lock");
    let mut held = vec![lock(&path, "data_dir", &config.data_dir)?];
    if !config.witness {
        let data_dir = &config.postgres.data_dir;
        held.push(lock(&lock_beside(data_dir), "postgres.data_dir", data_dir)?);
    }
    Ok(Held(held))
}

/// Beside PostgreSQL's directory: a sidecar with another directory of its own would find this
/// one's PostgreSQL there, take it for a leftover, and kill it.
fn lock_beside(data_dir: &Path) -> PathBuf {
    let parent = data_dir.parent().unwrap_or(data_dir);
    // One directory has one lock, whatever links lead to it.
    let real = data_dir.canonicalize().unwrap_or_else(|_| {
        let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
        parent.join(data_dir.file_name().unwrap_or_default())
    });
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(".sidecar.lock");
    real.with_file_name(name)
}

fn lock(path: &Path, key: &str, directory: &Path) -> anyhow::Result<Flock<File>> {
    let directory = directory.display();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| {
            format!(
                "{key} = {directory} cannot be locked by {}: make its directory this user's, or \
                 set another",
                path.display()
            )
        })?;
    wait_for_lock(file).map_err(|error| match error {
        Errno::EWOULDBLOCK => anyhow!(
            "{key} = {directory} is in use by another sidecar: stop that one, or set another \
             directory"
        ),
        _ => anyhow!("{key} = {directory} cannot be locked ({error}): set a local directory"),
    })
}

/// A sidecar that starts itself anew may have been starting another program just then, which had its
/// locks for a moment.
fn wait_for_lock(mut file: File) -> Result<Flock<File>, Errno> {
    let deadline = clock::now() + LOCK_WAIT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((back, Errno::EWOULDBLOCK)) if clock::now() < deadline => file = back,
            outcome => return outcome.map_err(|(_, error)| error),
        }
        std::thread::sleep(LOCK_RETRY);
    }
}

fn make(path: &Path, key: &str) -> anyhow::Result<()> {
    if !path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| {
                format!(
                    "{key} = {} cannot be created: create it for this user, or set another",
                    path.display()
                )
            })?;
    }
    let metadata = path
        .metadata()
        .with_context(|| format!("{key} = {}", path.display()))?;
    let me = nix::unistd::geteuid();
    if !metadata.is_dir() {
        bail!(
            "{key} = {} is no directory: move it away, or set another",
            path.display()
        );
    }
    if metadata.uid() != me.as_raw() {
        bail!(
            "{key} = {} belongs to user id {}, this is {me}: run pgha as its owner, or chown it",
            path.display(),
            metadata.uid()
        );
    }
    Ok(())
}

/// Writes the process id for whoever wants to find it.
pub(crate) fn write_pid(config: &Config) -> anyhow::Result<()> {
    let path = config.run_dir().join("pgha.pid");
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{}", std::process::id())?;
    Ok(())
}

/// Refuses a data directory that is not ours to use, before anything is changed.
pub(crate) fn check_data_dir(site: &Site) -> anyhow::Result<()> {
    let path = site.layout.data_dir.display();
    match DataDirectory::inspect(&site.installation, &site.layout.data_dir)? {
        DataDirectory::Missing
        | DataDirectory::Empty
        | DataDirectory::Cluster(_)
        | DataDirectory::Damaged { .. } => Ok(()),
        DataDirectory::NotPostgres { example } => bail!(
            "postgres.data_dir = {path} is not empty and not PostgreSQL's (it has {example}): \
             empty it, or set another"
        ),
        DataDirectory::OtherMajor { major } => bail!(
            "postgres.data_dir = {path} is of PostgreSQL {major}, found is {} in {}: install that \
             version, or set postgres.bin_dir",
            site.installation.version,
            site.installation.bin_dir.display()
        ),
        DataDirectory::ForeignOwner { uid } => bail!(
            "postgres.data_dir = {path} belongs to user id {uid}, this is {}: run pgha as its \
             owner, or chown it",
            nix::unistd::geteuid()
        ),
    }
}

/// PostgreSQL's own port has to be free now: later it would only fail to start.
pub(crate) fn check_port(config: &Config) -> anyhow::Result<()> {
    listen("postgres.listen", config.postgres.listen).map(drop)
}

/// Takes a port, or says whose it is to change.
pub(crate) fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{key} = {address} is taken by another process: stop that one, or set another address"
        ),
        _ => anyhow!(
            "{key} = {address} cannot be listened on ({error}): set an address of this host"
        ),
    })
}
