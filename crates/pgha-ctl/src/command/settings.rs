//! `pgha-ctl settings`: what the whole cluster has agreed on.

use std::collections::BTreeMap;
use std::fmt::Write;

use pgha_proto::v1;
use serde::Serialize;
use tokio::time::timeout;

use crate::cli::{EditArgs, SetArgs};
use crate::confirm::Permission;
use crate::editor;
use crate::error::CtlError;
use crate::output::Output;
use crate::session::{Client, Failure, Session, change_failed, too_late};
use crate::table;

/// The settings as programs see them.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Settings {
    version: u64,
    values: BTreeMap<String, String>,
    changed: Vec<String>,
    restart_pending: Vec<String>,
}

/// What is left where nobody waits for the outcome.
#[derive(Serialize)]
struct Submitted {
    outcome: &'static str,
    text: &'static str,
}

/// What is to become different.
#[derive(Clone, Debug, Default, PartialEq)]
struct Change {
    values: BTreeMap<String, String>,
    unset: Vec<String>,
}

pub(crate) async fn show(session: &Session, output: Output) -> Result<(), CtlError> {
    let question =
        |mut client: Client| async move { client.settings(v1::SettingsRequest {}).await };
    let settings = Settings::from(session.ask(question).await?);
    output.print(&settings, text)
}

pub(crate) async fn set(session: &Session, output: Output, args: SetArgs) -> Result<(), CtlError> {
    let permission = Permission::from_flag(args.wait.yes)?;
    let change = Change {
        values: args.values.into_iter().collect(),
        unset: args.unset,
    };
    let (mut client, before) = read(session).await?;
    permission.obtain(&question(&before, &change))?;
    let no_wait = args.wait.no_wait;
    submit(session, output, &mut client, &before, change, no_wait).await
}

pub(crate) async fn edit(
    session: &Session,
    output: Output,
    args: EditArgs,
) -> Result<(), CtlError> {
    let permission = Permission::from_flag(args.wait.yes)?;
    let (mut client, before) = read(session).await?;
    let edited = editor::edit(&editable(&before))?;
    let change = difference(&before.values, &parse(&edited)?);
    if change == Change::default() {
        return output.print(&before, |_| "nothing changed\n".to_owned());
    }
    permission.obtain(&question(&before, &change))?;
    let no_wait = args.wait.no_wait;
    submit(session, output, &mut client, &before, change, no_wait).await
}

/// A connection for the change, and what stands before it.
async fn read(session: &Session) -> Result<(Client, Settings), CtlError> {
    let mut client = session.contact().await?.client;
    let reply = timeout(session.timeout(), client.settings(v1::SettingsRequest {})).await;
    let reply = reply.unwrap_or_else(|_| Err(too_late()));
    let settings = reply.map_err(|status| CtlError::Refused(Failure::from(status).text()))?;
    Ok((client, settings.into_inner().into()))
}

/// The version that was shown is the one that is changed: nobody's change in between is undone.
async fn submit(
    session: &Session,
    output: Output,
    client: &mut Client,
    before: &Settings,
    change: Change,
    no_wait: bool,
) -> Result<(), CtlError> {
    let request = v1::SetSettingsRequest {
        values: change.values.clone(),
        unset: change.unset.clone(),
        expected_version: Some(before.version),
        passed_on_by: None,
        no_wait,
    };
    let reply = timeout(session.timeout(), client.set_settings(request)).await;
    let reply = reply
        .unwrap_or_else(|_| Err(too_late()))
        .map_err(change_failed)?;
    if no_wait {
        let submitted = Submitted {
            outcome: "submitted",
            text: "submitted; see `pgha-ctl settings show`",
        };
        return output.print(&submitted, |submitted| format!("{}\n", submitted.text));
    }
    let after = Settings::from(reply.into_inner());
    output.print(&after, |after| done(before, after, &change))
}

impl From<v1::SettingsReply> for Settings {
    fn from(reply: v1::SettingsReply) -> Self {
        let v1::SettingsReply {
            version,
            values,
            changed,
            restart_pending,
        } = reply;
        Self {
            version,
            values,
            changed,
            restart_pending,
        }
    }
}

impl Change {
    /// Each key with the value it is to get; the default's value is not known here.
    fn items(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self
            .values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        values.chain(self.unset.iter().map(|key| (key.as_str(), "its default")))
    }
}

fn question(before: &Settings, change: &Change) -> String {
    let mut text = String::new();
    for (key, value) in change.items() {
        let old = before.values.get(key).map_or("unset", String::as_str);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key}: {old} -> {value}");
    }
    format!("{text}Change these settings of the whole cluster?")
}

fn done(before: &Settings, after: &Settings, change: &Change) -> String {
    let mut text = format!("settings are at version {}\n", after.version);
    for (key, _) in change.items() {
        let old = before.values.get(key).map_or("unset", String::as_str);
        let new = after.values.get(key).map_or("unset", String::as_str);
        let _ = writeln!(text, "  {key}: {old} -> {new}");
    }
    text.push_str(&pending(after));
    text
}

fn text(settings: &Settings) -> String {
    let mut table = table::new(&["KEY", "VALUE", "SET"]);
    for (key, value) in &settings.values {
        let changed = if settings.changed.contains(key) {
            "by you"
        } else {
            "default"
        };
        table.add_row(vec![key.as_str(), value.as_str(), changed]);
    }
    let version = settings.version;
    format!(
        "{}version {version}\n{}",
        table::text(&table),
        pending(settings)
    )
}

fn pending(settings: &Settings) -> String {
    if settings.restart_pending.is_empty() {
        return String::new();
    }
    let parameters = settings.restart_pending.join(", ");
    format!("these take effect when PostgreSQL starts the next time: {parameters}\n")
}

fn editable(settings: &Settings) -> String {
    let mut text = format!(
        "# Settings of the whole cluster, version {}. A line that is removed goes back to its default.\n",
        settings.version
    );
    for (key, value) in &settings.values {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, CtlError> {
    let mut values = BTreeMap::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = parse_pair(line).map_err(CtlError::Usage)?;
        if values.insert(key.clone(), value).is_some() {
            return Err(CtlError::Usage(format!(
                "{key} stands there twice; nothing was changed"
            )));
        }
    }
    Ok(values)
}

/// `key=value`, as on the command line.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text
        .split_once('=')
        .map(|(key, value)| (key.trim(), value.trim()));
    match pair {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!(
            "`{text}` is not KEY=VALUE, for example lease_ms=1500"
        )),
    }
}

fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Change {
    let differs = |(key, value): &(&String, &String)| before.get(*key) != Some(*value);
    let values = after
        .iter()
        .filter(differs)
        .map(|(key, value)| (key.clone(), value.clone()));
    let unset = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .cloned();
    Change {
        values: values.collect(),
        unset: unset.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_edit_changes_what_differs_and_unsets_what_was_removed() {
        let before = map(&[("a", "1"), ("b", "2"), ("c", "x=y")]);
        let settings = Settings {
            version: 7,
            values: before.clone(),
            changed: Vec::new(),
            restart_pending: Vec::new(),
        };
        let unedited = parse(&editable(&settings)).expect("our own text");
        assert_eq!(difference(&before, &unedited), Change::default());
        let edited = parse("# note\n a = 5 \n\nc=x=y\n").expect("valid");
        let change = difference(&before, &edited);
        assert_eq!(
            change,
            Change {
                values: map(&[("a", "5")]),
                unset: vec!["b".to_owned()]
            }
        );
    }

    #[test]
    fn refuses_an_edit_that_is_not_key_and_value() {
        for text in ["a", "=1", "a=1\na=2"] {
            assert_eq!(parse(text).expect_err(text).exit_code(), 2);
        }
    }
}
