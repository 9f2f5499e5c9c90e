//! `pgha-ctl history`: every change of primary.

use pgha_proto::v1;

use crate::error::CtlError;
use crate::output::Output;
use crate::session::{Client, Session};
use crate::table;
use crate::view::history::Entry;
use crate::view::human_bytes;

pub(crate) async fn run(session: &Session, output: Output) -> Result<(), CtlError> {
    let question = |mut client: Client| async move { client.history(v1::HistoryRequest {}).await };
    let reply = session.ask(question).await?;
    let entries: Vec<Entry> = reply.entries.into_iter().map(Entry::from).collect();
    output.print(&entries, |entries| text(entries))
}

fn text(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "no primary yet, so no history\n".to_owned();
    }
    table_of(entries)
}

/// Also heads an explanation.
pub(crate) fn table_of(entries: &[Entry]) -> String {
    let headings = [
        "EPOCH", "TL", "PRIMARY", "BEFORE", "CAUSE", "AT", "TOOK", "LOST",
    ];
    let mut table = table::new(&headings);
    for entry in entries {
        table.add_row(vec![
            entry.epoch.to_string(),
            entry.timeline.to_string(),
            entry.primary.clone(),
            table::cell(entry.previous_primary.as_ref()),
            entry.cause.clone(),
            entry.at.clone(),
            took(entry),
            lost(entry),
        ]);
    }
    table::text(&table)
}

/// Each step counts from the fault, so the longest is the whole.
fn took(entry: &Entry) -> String {
    table::cell(
        entry
            .steps_ms
            .0
            .iter()
            .map(|(_, ms)| ms)
            .max()
            .map(|ms| format!("{ms} ms")),
    )
}

fn lost(entry: &Entry) -> String {
    let Some(bytes) = entry.lost_bytes else {
        return "-".to_owned();
    };
    let range = match (&entry.lost_from_lsn, &entry.lost_to_lsn) {
        (Some(from), Some(to)) => format!(" ({from} to {to})"),
        _ => String::new(),
    };
    let known = if entry.lost_final == Some(false) {
        "at least "
    } else {
        ""
    };
    format!("{known}{}{range}", human_bytes(bytes))
}
