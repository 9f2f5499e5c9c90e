//! `pgha-ctl explain`: why it failed over.

use std::fmt::Write;

use pgha_proto::v1;
use serde::Serialize;

use super::history;
use crate::error::CtlError;
use crate::output::Output;
use crate::session::{Client, Session};
use crate::view::history::Entry;

#[derive(Serialize)]
struct Explanation {
    entry: Option<Entry>,
    lines: Vec<String>,
}

pub(crate) async fn run(
    session: &Session,
    output: Output,
    epoch: Option<u64>,
) -> Result<(), CtlError> {
    let question =
        |mut client: Client| async move { client.explain(v1::ExplainRequest { epoch }).await };
    let reply = session.ask(question).await?;
    let explanation = Explanation {
        entry: reply.entry.map(Entry::from),
        lines: reply.lines,
    };
    output.print(&explanation, text)
}

fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some(entry) = &explanation.entry {
        text.push_str(&history::table_of(std::slice::from_ref(entry)));
        text.push('\n');
    }
    // The steps are among the lines.
    for line in &explanation.lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}
