//! Where log lines go: to standard error, for people unless asked otherwise.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogConfig, LogFormat};

/// Libraries that would log what is nobody's business at our level: each statement, with the secret of the
/// replication role in it.
const QUIET: &str = "openraft=off,sled=warn,h2=warn,hyper=warn,tower=warn,tonic=warn,\
     tokio_postgres=info";

/// Starts logging.
pub(crate) fn start(config: &LogConfig) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => builder.with_target(false).with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
