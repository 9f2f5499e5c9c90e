//! `pgha.conf`: the settings that pgha changes while PostgreSQL runs, and those of the users.

use std::path::{Path, PathBuf};

use pgha_core::TimelineId;

use super::conninfo::Conninfo;
use super::parameters::UserParameters;
use super::quote::{QuoteError, quote_setting};
use crate::files::{FileError, write_atomically};

/// The include file's name, inside the data directory.
pub const INCLUDE_FILE: &str = "pgha.conf";

/// A parameter of no meaning to PostgreSQL that shows which version of the file a process acts on.
pub(crate) const REVISION: &str = "pgha.revision";

/// What a standby streams from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The replication role.
    pub user: String,
    /// How this standby is called there: what `synchronous_standby_names` lists.
    pub application_name: String,
    /// The slot it reads, `pgha_t<timeline>_<member>`.
    pub slot: Option<String>,
    /// File with the password, outside the data directory.
    pub passfile: PathBuf,
}

/// `recovery_target_timeline`: read at start only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryTimeline {
    /// Follow wherever the upstream goes.
    #[default]
    Latest,
    /// Stay on this one: a candidate that is short of the fork of a timeline whose history file it
    /// holds would otherwise be promoted with a history that goes back.
    Pinned(TimelineId),
}

/// The content of `pgha.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedSettings {
    /// What to stream from; none: no receiver.
    pub upstream: Option<Upstream>,
    /// Which timeline recovery goes for.
    pub recovery_timeline: RecoveryTimeline,
    /// `synchronous_standby_names` (manual, 20.6.2 "Primary Server").
    pub synchronous_standby_names: String,
    /// The users' parameters.
    pub parameters: UserParameters,
}

/// Defaults that users may override.
const DEFAULTS: [(&str, &str); 13] = [
    // A commit in a crashed PostgreSQL's memory is worth little: see the peer die within seconds.
    ("wal_receiver_timeout", "5s"),
    ("wal_sender_timeout", "5s"),
    ("wal_receiver_status_interval", "1s"),
    // The backstop where a repoint is missed; the stock 5 s would be longer than a failover.
    ("wal_retrieve_retry_interval", "100ms"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "10s"),
    // The slot of a member that is gone must not fill the disk of the primary.
    ("max_slot_wal_keep_size", "16GB"),
    ("wal_keep_size", "128MB"),
    ("hot_standby_feedback", "off"),
    ("superuser_reserved_connections", "5"),
    ("password_encryption", "scram-sha-256"),
];

impl ManagedSettings {
    /// The file's text. Later lines win, so users override the defaults and pgha overrides users.
    pub(crate) fn render(&self, revision: &str) -> Result<String, QuoteError> {
        let (conninfo, slot) = match &self.upstream {
            Some(upstream) => (upstream.conninfo()?.to_string(), upstream.slot.clone()),
            None => (String::new(), None),
        };
        let timeline = match self.recovery_timeline {
            RecoveryTimeline::Latest => "latest".to_owned(),
            RecoveryTimeline::Pinned(timeline) => timeline.to_string(),
        };
        let owned = [
            ("primary_conninfo", conninfo.as_str()),
            ("primary_slot_name", slot.as_deref().unwrap_or_default()),
            ("recovery_target_timeline", timeline.as_str()),
            ("recovery_min_apply_delay", "0"),
            ("restore_command", ""),
            ("archive_cleanup_command", ""),
            ("recovery_end_command", ""),
            (
                "synchronous_standby_names",
                self.synchronous_standby_names.as_str(),
            ),
            (REVISION, revision),
        ];
        let mut text = String::from("# Written by pgha and replaced at every change.\n");
        for (name, value) in DEFAULTS
            .into_iter()
            .chain(self.parameters.iter())
            .chain(owned)
        {
            text.push_str(&format!("{name} = {}\n", quote_setting(value)?));
        }
        Ok(text)
    }

    /// Writes the file, durably. Acts at the next start or reload. Returns the revision that
    /// tells which processes act on it.
    pub fn write(&self, data_dir: &Path) -> Result<String, ManagedError> {
        let revision = format!("{:016x}", rand::random::<u64>());
        let text = self.render(&revision)?;
        write_atomically(&data_dir.join(INCLUDE_FILE), text.as_bytes())?;
        super::auto_conf::strip_owned(data_dir)?;
        Ok(revision)
    }
}

impl Upstream {
    /// `primary_conninfo`. The password is in the file it names.
    pub fn conninfo(&self) -> Result<Conninfo, QuoteError> {
        Conninfo::new()
            .with("host", &self.host)?
            .with("port", &self.port.to_string())?
            .with("user", &self.user)?
            .with("application_name", &self.application_name)?
            .with("passfile", &self.passfile.to_string_lossy())?
            .with_dead_peer_limits()
    }
}

/// `pgha.conf` could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManagedError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value does not fit.
    #[error("pgha.conf: {0}")]
    Quote(#[from] QuoteError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ParameterTrust;
    use std::collections::BTreeMap;

    fn value<'a>(text: &'a str, name: &str) -> &'a str {
        let prefix = format!("{name} = ");
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap()
    }

    #[test]
    fn users_override_defaults_and_pgha_overrides_users() {
        let parameters = BTreeMap::from([("wal_sender_timeout".to_owned(), "60s".to_owned())]);
        let settings = ManagedSettings {
            parameters: UserParameters::parse(&parameters, ParameterTrust::DataOnly).unwrap(),
            ..ManagedSettings::default()
        };
        let text = settings.render("r").unwrap();
        assert_eq!(value(&text, "wal_sender_timeout"), "'60s'");
        assert_eq!(value(&text, "primary_conninfo"), "''");
        assert_eq!(value(&text, "recovery_target_timeline"), "'latest'");
    }

    #[test]
    fn a_quote_in_a_member_name_stays_inside_both_layers() {
        let settings = ManagedSettings {
            upstream: Some(Upstream {
                host: "10.0.0.1".into(),
                port: 5433,
                user: "pgha_replication".into(),
                application_name: "n'1".into(),
                slot: Some("pgha_t1_n1".into()),
                passfile: "/conf/file".into(),
            }),
            recovery_timeline: RecoveryTimeline::Pinned(TimelineId(3)),
            ..ManagedSettings::default()
        };
        let text = settings.render("r").unwrap();
        let conninfo = value(&text, "primary_conninfo");
        assert!(
            conninfo.contains(r"application_name=''n\\''1''"),
            "{conninfo}"
        );
        assert_eq!(value(&text, "recovery_target_timeline"), "'3'");
    }
}
