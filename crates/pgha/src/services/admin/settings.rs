//! The settings of the cluster, shown and checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgha_core::settings::PARAMETER_PREFIX;
use pgha_core::{Command, Refusal, Settings};
use pgha_postgres::config::{ParameterError, ParameterTrust, UserParameters};
use pgha_proto::v1;
use pgha_raft::RaftNode;
use tonic::Status;

use super::{Joined, PROPOSE_MAX};
use crate::server::Site;

/// Refuses a change of settings that are not any more what they were. Versions only rise.
pub(super) fn check_version(current: &Settings, expected: u64) -> Result<(), Status> {
    let found = current.version;
    if expected >= found {
        return Ok(());
    }
    let refusal = Refusal::SettingsVersion { expected, found };
    Err(Status::invalid_argument(refusal.to_string()))
}

/// Refuses what would be refused later: by the state machine, by a member that applies it, or, where
/// this member has one, by PostgreSQL at its next start.
pub(super) async fn check(
    site: Option<&Site>,
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
    if changed.postgres_parameters == current.postgres_parameters {
        return Ok(());
    }
    let parameters = &changed.postgres_parameters;
    let parameters = UserParameters::parse(parameters, ParameterTrust::DataOnly)
        .map_err(|error| refused(&told(&error, current)))?;
    let Some(site) = site else { return Ok(()) };
    let judged = site.check_parameters(&parameters).await;
    judged.map_err(|error| refused(&error))
}

/// One that an older version let in stands in the way of all changes, until it is taken out.
fn told(error: &ParameterError, current: &Settings) -> String {
    let current = &current.postgres_parameters;
    let (_, refused) = UserParameters::sift(current, ParameterTrust::DataOnly);
    if refused.contains(error) {
        let key = format!("{PARAMETER_PREFIX}{}", error.name);
        format!("{error}; it is set already: --unset {key} takes it out")
    } else {
        error.to_string()
    }
}

/// Proposes a change. Without `wait` the cluster decides on it later.
pub(super) async fn propose(
    raft: &Arc<RaftNode>,
    command: Command,
    wait: bool,
) -> Result<(), Status> {
    if wait {
        return proposed(raft, command).await;
    }
    let raft = Arc::clone(raft);
    tokio::spawn(async move {
        if let Err(status) = proposed(&raft, command).await {
            let why = status.message();
            tracing::warn!("nobody waits to be told of this change of settings: {why}");
        }
    });
    Ok(())
}

async fn proposed(raft: &RaftNode, command: Command) -> Result<(), Status> {
    match raft.propose(command, PROPOSE_MAX).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refusal)) => Err(Status::invalid_argument(refusal.to_string())),
        // What was proposed may still come to pass.
        Err(error) if error.outcome_is_unknown() => Err(Status::unknown(error.to_string())),
        Err(error) => Err(Status::unavailable(error.to_string())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lone::Lone;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    /// A witness may lead the Raft group.
    #[tokio::test]
    async fn a_member_without_postgresql_knows_what_is_refused() {
        let current = Settings::default();
        for (name, value, named, word) in [
            ("shared_preload_libraries", "x", "= \"x\"", "leave it out"),
            (
                "max_wal_senders",
                "2",
                "max_wal_senders = \"2\"",
                "at least 10",
            ),
            (
                "max_connections",
                "3",
                "max_connections = \"3\"",
                "above the 5",
            ),
            ("reserved_connections", "95", "\"100\"", "above the 100"),
        ] {
            let key = format!("{PARAMETER_PREFIX}{name}");
            let set = map(&[(&key, value), ("lease_ms", "2000")]);
            let refused = check(None, &current, &set, &[]).await.expect_err(name);
            let text = refused.message();
            assert!(text.contains(named) && text.contains(word), "{text}");
            assert!(!text.contains("--unset"), "{text}");
        }
        let set = map(&[("postgres.parameters.work_mem", "8MB")]);
        check(None, &current, &set, &[]).await.expect("valid");
    }

    #[tokio::test]
    async fn what_an_older_version_let_in_can_be_taken_out() {
        let current = Settings {
            postgres_parameters: map(&[("archive_command", "cp %p /x")]),
            ..Settings::default()
        };
        let bad = "postgres.parameters.archive_command".to_owned();
        let set = map(&[("postgres.parameters.work_mem", "8MB")]);
        let refused = check(None, &current, &set, &[]).await.expect_err("refused");
        let text = refused.message();
        assert!(text.contains(&format!("--unset {bad}")), "{text}");
        check(None, &current, &set, &[bad]).await.expect("valid");
        let other = map(&[("lease_ms", "2000")]);
        check(None, &current, &other, &[]).await.expect("valid");
    }

    /// Also where nobody waits to be told.
    #[test]
    fn a_change_of_other_settings_than_those_that_were_shown_is_refused_at_once() {
        let current = Settings {
            version: 4,
            ..Settings::default()
        };
        check_version(&current, 3).expect_err("somebody was faster");
        check_version(&current, 4).expect("as shown");
    }

    /// Nobody leads here, so that nothing can be decided on.
    #[tokio::test]
    async fn without_a_wait_the_answer_comes_before_the_outcome() {
        let dir = tempfile::tempdir().expect("a directory");
        let raft = Lone::bound(&dir).await.raft;
        let command = || Command::SetSettings {
            expected_version: 0,
            set: map(&[("lease_ms", "2000")]),
            unset: Vec::new(),
        };
        propose(&raft, command(), true)
            .await
            .expect_err("no leader");
        propose(&raft, command(), false).await.expect("taken");
    }
}
