//! `pgha-ctl status`: what to see first at three in the morning.

use std::fmt::Write;

use pgha_core::Reason;

use crate::error::CtlError;
use crate::output::Output;
use crate::session::Session;
use crate::table;
use crate::view::human_bytes;
use crate::view::status::{Member, Status};

/// An answer older than this is worth a word.
const STALE_MS_MAX: u64 = 3000;

pub(crate) async fn run(session: &Session, output: Output) -> Result<(), CtlError> {
    output.print(&ask(session).await?, text)
}

/// The view of a member that sees a quorum, where there is one.
pub(crate) async fn ask(session: &Session) -> Result<Status, CtlError> {
    Ok(session.contact().await?.status.into())
}

/// Header, table of members, and why things are as they are.
pub(crate) fn text(status: &Status) -> String {
    let mut text = header(status);
    text.push_str("\n\n");
    if !status.members.is_empty() {
        text.push_str(&members(status));
    }
    let why = sentences(status);
    if !why.is_empty() {
        text.push('\n');
    }
    for sentence in why {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{sentence}");
    }
    text
}

fn header(status: &Status) -> String {
    let number = |value: Option<u64>| table::cell(value);
    let quorum = if status.quorum { "yes" } else { "NO" };
    let mode = Some(&status.sync.mode).filter(|mode| !mode.is_empty());
    let mut sync = table::cell(mode);
    if !status.sync.standbys.is_empty() {
        let _ = write!(sync, " ({})", status.sync.standbys.join(", "));
    }
    let paused = if status.paused { "  PAUSED" } else { "" };
    format!(
        "cluster {}  primary {}  epoch {}  timeline {}  quorum {quorum}  sync {sync}{paused}\n\
         as of {} ms ago, answered by {}",
        status.cluster,
        table::cell(status.primary.as_ref()),
        number(status.epoch),
        number(status.timeline.map(u64::from)),
        status.stale_ms,
        status.answered_by,
    )
}

fn members(status: &Status) -> String {
    let mut table = table::new(&["MEMBER", "ROLE", "STATE", "LAG", "TL", "RAFT", "ADDRESSES"]);
    for member in &status.members {
        table.add_row(vec![
            member.name.clone(),
            member.role.clone(),
            member.state.clone(),
            table::cell(member.lag_bytes.map(human_bytes)),
            table::cell(member.timeline),
            raft_role(status, &member.name).to_owned(),
            addresses(member),
        ]);
    }
    table::text(&table)
}

fn raft_role(status: &Status, name: &str) -> &'static str {
    let listed = |names: &[String]| names.iter().any(|listed| listed == name);
    if status.raft.leader.as_deref() == Some(name) {
        return "leader";
    }
    if listed(&status.raft.voters) {
        return "voter";
    }
    if listed(&status.raft.learners) {
        "learner"
    } else {
        "-"
    }
}

/// The host once, then the ports that are on it.
fn addresses(member: &Member) -> String {
    let all = [
        ("raft", &member.raft),
        ("pg", &member.postgres),
        ("rw", &member.proxy_rw),
        ("ro", &member.proxy_ro),
        ("http", &member.http),
    ];
    let known = all
        .iter()
        .filter_map(|(what, address)| Some((what, address.as_ref()?)));
    let mut text = String::new();
    let mut host_before = None;
    for (what, address) in known {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        if host_before != Some(host) {
            let separator = if host_before.is_some() { " " } else { "" };
            let _ = write!(text, "{separator}{host}");
            host_before = Some(host);
        }
        let _ = write!(text, " {what}:{port}");
    }
    text
}

/// Why, and what to do: of the cluster, then of each member.
fn sentences(status: &Status) -> Vec<String> {
    let mut sentences = Vec::new();
    let of_cluster = match (&status.reason, status.quorum) {
        (None, false) => Some(Reason::NoQuorum.code()),
        (reason, _) => reason.as_deref(),
    };
    sentences.extend(sentence(
        &status.cluster,
        of_cluster,
        status.detail.as_deref(),
    ));
    for member in &status.members {
        sentences.extend(sentence(
            &member.name,
            member.reason.as_deref(),
            member.detail.as_deref(),
        ));
    }
    if status.stale_ms > STALE_MS_MAX {
        let (by, age) = (&status.answered_by, status.stale_ms);
        sentences.push(format!(
            "{by}: last heard from a quorum {age} ms ago; things may have changed since"
        ));
    }
    sentences
}

fn sentence(who: &str, reason: Option<&str>, detail: Option<&str>) -> Option<String> {
    // A newer member may know a reason that this program does not.
    let meaning = |code: &str| {
        let known = Reason::ALL.iter().find(|reason| reason.code() == code);
        known.map_or_else(
            || code.to_owned(),
            |reason| format!("{code}: {}", reason.sentence()),
        )
    };
    match (reason.map(meaning), detail) {
        (Some(meaning), Some(detail)) => Some(format!("{who}: {meaning} ({detail})")),
        (Some(meaning), None) => Some(format!("{who}: {meaning}")),
        (None, Some(detail)) => Some(format!("{who}: {detail}")),
        (None, None) => None,
    }
}
