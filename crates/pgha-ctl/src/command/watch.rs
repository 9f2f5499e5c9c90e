//! `pgha-ctl status --watch`: shown again whenever something changed.

use std::io::IsTerminal;
use std::time::Duration;

use super::status;
use crate::error::CtlError;
use crate::output::{Output, json_line, note, write_out, yaml};
use crate::session::Session;
use crate::view::status::Status;

/// How often a member is asked.
const POLL: Duration = Duration::from_secs(1);

/// Ends when nobody reads any more, or by a signal.
pub(crate) async fn run(session: &Session, output: Output) -> Result<(), CtlError> {
    let mut shown: Option<Status> = None;
    let mut lost = None;
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let status = match status::ask(session).await {
            Ok(status) => status,
            Err(error) => {
                report_loss(&mut lost, &error);
                continue;
            }
        };
        let found_again = lost.take().is_some();
        if found_again || shown.as_ref().is_none_or(|shown| differs(shown, &status)) {
            write_out(&frame(&status, output, shown.is_none())?)?;
            shown = Some(status);
        }
    }
}

/// Said once for each kind of loss, not every second.
fn report_loss(lost: &mut Option<String>, error: &CtlError) {
    let why = error.to_string();
    if lost.as_ref() != Some(&why) {
        note(&format!("pgha-ctl: {why}"));
    }
    *lost = Some(why);
}

/// The age of the view alone is no change.
fn differs(shown: &Status, status: &Status) -> bool {
    let aged = Status {
        stale_ms: shown.stale_ms,
        ..status.clone()
    };
    *shown != aged
}

fn frame(status: &Status, output: Output, first: bool) -> Result<String, CtlError> {
    match output {
        Output::Json => json_line(status),
        Output::Yaml => Ok(format!("---\n{}", yaml(status)?)),
        Output::Table if std::io::stdout().is_terminal() => {
            Ok(redraw(&status::text(status), first))
        }
        Output::Table => Ok(format!("{}\n", status::text(status))),
    }
}

/// Overwrites what stands there line by line: clearing the screen first would flicker.
fn redraw(text: &str, first: bool) -> String {
    const CLEAR: &str = "\x1b[2J";
    const HOME: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K\n";
    const CLEAR_BELOW: &str = "\x1b[J";
    let clear = if first { CLEAR } else { "" };
    format!(
        "{clear}{HOME}{}{CLEAR_BELOW}",
        text.replace('\n', CLEAR_LINE)
    )
}

#[cfg(test)]
mod tests {
    use pgha_proto::v1;

    use super::*;

    #[test]
    fn age_alone_is_no_change() {
        let old = Status::from(v1::StatusReply {
            stale_ms: 1,
            ..Default::default()
        });
        let aged = Status {
            stale_ms: 900,
            ..old.clone()
        };
        assert!(!differs(&old, &aged));
        assert!(differs(
            &old,
            &Status {
                quorum: true,
                ..aged
            }
        ));
    }

    #[test]
    fn only_the_first_frame_clears_the_screen() {
        assert_eq!(
            redraw("a\nb\n", true),
            "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"
        );
        assert_eq!(redraw("a\n", false), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
