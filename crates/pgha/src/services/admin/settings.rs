//! The settings of the cluster, shown and checked.

use std::collections::BTreeMap;

use pgha_core::Settings;
use pgha_proto::v1;
use tonic::Status;

use super::Joined;

/// Refuses what would be refused later: by the state machine, or by PostgreSQL at its next start.
pub(super) async fn check(
    joined: &Joined,
    current: &Settings,
    set: &BTreeMap<String, String>,
    unset: &[String],
) -> Result<(), Status> {
    let mut changed = current.clone();
    let refused = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
    for key in unset {
        changed.unset(key).map_err(|error| refused(&error))?;
    }
    for (key, value) in set {
        changed.set(key, value).map_err(|error| refused(&error))?;
    }
    match &joined.site {
        Some(site) if changed.postgres_parameters != current.postgres_parameters => site
            .check_parameters(&changed)
            .await
            .map_err(|error| refused(&format!("{error:#}"))),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn settings(joined: &Joined) -> v1::SettingsReply {
    let settings = joined.raft.state().borrow().state.settings.clone();
    let defaults = Settings::default().values();
    let values = settings.values();
    let changed = values
        .iter()
        .filter(|(key, value)| defaults.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect();
    let pending = joined
        .published
        .borrow()
        .report
        .clone()
        .map(|r| r.restart_pending);
    v1::SettingsReply {
        version: settings.version,
        values,
        changed,
        restart_pending: pending.unwrap_or_default(),
    }
}
