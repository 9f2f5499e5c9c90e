//! Keys of this member's PostgreSQL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pgha_core::Secret;

use super::error::ConfigError;
use super::names::parse_role;
use super::parse::parse_bool;
use super::resolver::{Resolver, parse_path};
use super::secret;
use super::{RAFT_DIR, RUN_DIR, address, hba, overlaps};

/// The PostgreSQL of this member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresConfig {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Whether logins from other hosts may go past the gate.
    pub(crate) direct: bool,
    /// Its data directory, absolute.
    pub(crate) data_dir: PathBuf,
    /// Directory of its unix socket, absolute.
    pub(crate) socket_dir: PathBuf,
    /// Directory of its programs; to be found where absent.
    pub(crate) bin_dir: Option<PathBuf>,
    /// The superuser.
    pub(crate) superuser: String,
    /// The superuser's password at the first initialisation; to be drawn where absent.
    pub(crate) superuser_password: Option<Secret>,
    /// The role that replicas stream as.
    pub(crate) replication_user: String,
    /// The user's own lines for `pg_hba.conf`.
    pub(crate) hba: Vec<String>,
}

/// `sun_path` holds 108 bytes with its end (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

pub(super) fn parse(
    resolver: &mut Resolver,
    data_dir: &Path,
) -> Result<PostgresConfig, ConfigError> {
    let listen = resolver.required("postgres.listen", address::parse_listen)?;
    let direct = resolver.required("postgres.direct", parse_bool)?;
    let superuser = resolver.required("postgres.superuser", parse_role)?;
    let replication_user = resolver.required("postgres.replication_user", parse_role)?;
    if superuser == replication_user {
        let what = "it is the superuser too; replicas need a role of their own".to_owned();
        return Err(resolver.refusal("postgres.replication_user", what));
    }
    Ok(PostgresConfig {
        listen,
        direct,
        data_dir: parse_data_dir(resolver, data_dir)?,
        socket_dir: parse_socket_dir(resolver, data_dir, listen.port())?,
        bin_dir: parse_bin_dir(resolver)?,
        superuser,
        superuser_password: parse_password(resolver)?,
        replication_user,
        hba: hba::parse(resolver)?,
    })
}

/// A clone moves the data directory aside: what else lies in it would go with it.
fn parse_data_dir(resolver: &mut Resolver, data_dir: &Path) -> Result<PathBuf, ConfigError> {
    let path = resolver.path("postgres.data_dir", &data_dir.join("postgres"))?;
    let own = [RAFT_DIR, RUN_DIR].map(|name| data_dir.join(name));
    if data_dir.starts_with(&path) || own.iter().any(|own| overlaps(&path, own)) {
        let what =
            format!("it overlaps the sidecar's own files in {data_dir:?}; give a directory apart");
        return Err(ConfigError::Refused {
            key: "postgres.data_dir",
            what,
        });
    }
    Ok(path)
}

fn parse_socket_dir(
    resolver: &mut Resolver,
    data_dir: &Path,
    port: u16,
) -> Result<PathBuf, ConfigError> {
    let path = resolver.path("postgres.socket_dir", &data_dir.join(RUN_DIR))?;
    let socket = path.join(format!(".s.PGSQL.{port}"));
    let length = socket.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        let what = format!(
            "the socket {socket:?} has {length} bytes, a socket's path at most {SOCKET_PATH_BYTES_MAX}; \
             give a shorter directory"
        );
        return Err(ConfigError::Refused {
            key: "postgres.socket_dir",
            what,
        });
    }
    // PostgreSQL separates directories by commas and takes a leading @ for an abstract socket.
    if path.to_string_lossy().contains([',', '"', '\'']) {
        let what = "expected a directory without commas and quotes".to_owned();
        return Err(ConfigError::Refused {
            key: "postgres.socket_dir",
            what,
        });
    }
    Ok(path)
}

fn parse_bin_dir(resolver: &mut Resolver) -> Result<Option<PathBuf>, ConfigError> {
    let path = resolver.optional("postgres.bin_dir", parse_path)?;
    let shown = path.as_ref().map_or_else(
        || "<found at start>".to_owned(),
        |path| path.display().to_string(),
    );
    resolver.note("postgres.bin_dir", shown);
    Ok(path)
}

fn parse_password(resolver: &mut Resolver) -> Result<Option<Secret>, ConfigError> {
    const KEY: &str = "postgres.superuser_password";
    const FILE_KEY: &str = "postgres.superuser_password_file";
    let given = resolver.text(KEY).map(secret::parse).transpose()?;
    let file = resolver.optional(FILE_KEY, parse_path)?;
    if given.is_some() && file.is_some() {
        return Err(secret::both_given());
    }
    let read = file.as_deref().map(secret::read).transpose()?;
    let shown = if given.is_some() {
        "<redacted>"
    } else {
        "<drawn at first start>"
    };
    let shown = if read.is_some() {
        "<from its file>"
    } else {
        shown
    };
    resolver.note(KEY, shown);
    resolver.note(
        FILE_KEY,
        file.map_or_else(String::new, |file| file.display().to_string()),
    );
    Ok(given.or(read))
}
