//! `pgha-ctl switchover` and `failover`: asked for, submitted once, watched to the end.

use std::time::Duration;

use pgha_proto::v1;
use pgha_proto::v1::outcome::Kind;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status, Streaming};

use crate::cli::{FailoverArgs, SwitchoverArgs, WaitArgs};
use crate::confirm::Permission;
use crate::error::CtlError;
use crate::output::{Output, note};
use crate::session::{Contact, Session, change_failed, too_late};
use crate::view::history::Entry;

/// The member ends the wait itself at the deadline; its last word needs a moment on the way.
const LAST_WORD: Duration = Duration::from_secs(2);

type Submitted = Result<Response<Streaming<v1::Progress>>, Status>;

#[derive(Serialize)]
struct Done {
    outcome: &'static str,
    text: String,
    entry: Option<Entry>,
}

pub(crate) async fn switchover(
    session: &Session,
    output: Output,
    args: SwitchoverArgs,
) -> Result<(), CtlError> {
    let permission = Permission::from_flag(args.wait.yes)?;
    let mut contact = session.contact().await?;
    let target = args
        .to
        .clone()
        .unwrap_or_else(|| "the best replica".to_owned());
    permission.obtain(&format!(
        "Switch cluster {} over from {} to {target}? New connections are held until it is done.",
        contact.status.cluster,
        primary(&contact),
    ))?;
    let request = v1::SwitchoverRequest {
        to: args.to,
        timeout_ms: millis(session.timeout()),
        passed_on_by: None,
    };
    let submitted = contact.client.switchover(request);
    follow(output, &args.wait, session.timeout(), submitted).await
}

pub(crate) async fn failover(
    session: &Session,
    output: Output,
    args: FailoverArgs,
) -> Result<(), CtlError> {
    let permission = Permission::from_flag(args.wait.yes)?;
    let mut contact = session.contact().await?;
    let loss = if args.allow_data_loss {
        " What only the old primary has WILL BE LOST."
    } else {
        " It is refused if more could be lost than the settings allow."
    };
    permission.obtain(&format!(
        "Make {} primary of cluster {} in the place of {}?{loss}",
        args.to,
        contact.status.cluster,
        primary(&contact),
    ))?;
    let request = v1::FailoverRequest {
        to: args.to,
        allow_data_loss: args.allow_data_loss,
        timeout_ms: millis(session.timeout()),
        passed_on_by: None,
    };
    let submitted = contact.client.failover(request);
    follow(output, &args.wait, session.timeout(), submitted).await
}

fn primary(contact: &Contact) -> &str {
    contact.status.primary.as_deref().unwrap_or("nobody")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Submits it, shows the progress and turns the outcome into the command's own.
async fn follow(
    output: Output,
    wait: &WaitArgs,
    timeout: Duration,
    submitted: impl Future<Output = Submitted>,
) -> Result<(), CtlError> {
    let end = Instant::now() + timeout + LAST_WORD;
    let submitted = timeout_at(end, submitted)
        .await
        .unwrap_or_else(|_| Err(too_late()));
    let mut stream = submitted.map_err(change_failed)?.into_inner();
    loop {
        let message = timeout_at(end, stream.message())
            .await
            .unwrap_or_else(|_| Err(too_late()));
        let Some(progress) = message.map_err(change_failed)? else {
            let why = "the member ended the conversation without an outcome";
            return Err(CtlError::OutcomeUnknown(why.to_owned()));
        };
        if !progress.text.is_empty() {
            note(&progress.text);
        }
        if let Some(outcome) = progress.outcome {
            return finish(output, outcome);
        }
        if wait.no_wait {
            let text = "submitted; see `pgha-ctl status --watch`".to_owned();
            return print(
                output,
                Done {
                    outcome: "submitted",
                    text,
                    entry: None,
                },
            );
        }
    }
}

fn finish(output: Output, outcome: v1::Outcome) -> Result<(), CtlError> {
    let kind = outcome.kind();
    let text = outcome.text;
    match kind {
        Kind::Done => print(
            output,
            Done {
                outcome: "done",
                text,
                entry: outcome.entry.map(Entry::from),
            },
        ),
        Kind::Refused | Kind::Failed => Err(CtlError::Refused(text)),
        Kind::TimedOut | Kind::Unspecified => Err(CtlError::OutcomeUnknown(text)),
    }
}

fn print(output: Output, done: Done) -> Result<(), CtlError> {
    output.print(&done, |done| format!("{}\n", done.text))
}
