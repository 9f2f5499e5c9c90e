//! The guard's arguments. Nothing secret is among them: every user of the host can read them.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// As [`crate::GuardOptions`] made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) control_fd: RawFd,
    pub(super) board_fd: RawFd,
    pub(super) run_dir: PathBuf,
    pub(super) lock_path: PathBuf,
    pub(super) release_program: PathBuf,
    pub(super) ack_wait: Duration,
    pub(super) release_within: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionsError {
    #[error("{0} needs a value; the guard is started by the sidecar, not by hand")]
    Bare(String),
    #[error("{name} {value:?} is not accepted, a number is")]
    BadNumber { name: &'static str, value: OsString },
    #[error("{0} is missing; the guard is started by the sidecar, not by hand")]
    Missing(&'static str),
    #[error("{0} is no option of the guard")]
    Unknown(String),
}

const CONTROL: &str = "--control-fd";
const BOARD: &str = "--board-fd";
const RUN_DIR: &str = "--run-dir";
const LOCK: &str = "--lock";
const RELEASE: &str = "--release-program";
const ACK_WAIT: &str = "--ack-wait-ms";
const RELEASE_WITHIN: &str = "--release-within-ms";
const NAMES: [&str; 7] = [
    CONTROL,
    BOARD,
    RUN_DIR,
    LOCK,
    RELEASE,
    ACK_WAIT,
    RELEASE_WITHIN,
];

impl Options {
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, OptionsError> {
        let mut values: [Option<OsString>; NAMES.len()] = Default::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let known = NAMES
                .iter()
                .zip(&mut values)
                .find(|(known, _)| name == **known);
            let Some((_, value)) = known else {
                return Err(OptionsError::Unknown(name.to_string_lossy().into_owned()));
            };
            let bare = || OptionsError::Bare(name.to_string_lossy().into_owned());
            *value = Some(args.next().ok_or_else(bare)?);
        }
        let [
            control,
            board,
            run_dir,
            lock,
            release,
            ack_wait,
            release_within,
        ] = values;
        Ok(Self {
            control_fd: number(CONTROL, control)?,
            board_fd: number(BOARD, board)?,
            run_dir: given(RUN_DIR, run_dir)?.into(),
            lock_path: given(LOCK, lock)?.into(),
            release_program: given(RELEASE, release)?.into(),
            ack_wait: Duration::from_millis(number(ACK_WAIT, ack_wait)?),
            release_within: Duration::from_millis(number(RELEASE_WITHIN, release_within)?),
        })
    }
}

fn given(name: &'static str, value: Option<OsString>) -> Result<OsString, OptionsError> {
    value.ok_or(OptionsError::Missing(name))
}

fn number<T: FromStr>(name: &'static str, value: Option<OsString>) -> Result<T, OptionsError> {
    let value = given(name, value)?;
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or(OptionsError::BadNumber { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "--control-fd 3 --board-fd 4 --run-dir /r --lock /l --release-program /p \
                        --ack-wait-ms 50 --release-within-ms 5000";

    fn parse(line: &str) -> Result<Options, OptionsError> {
        Options::parse(line.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn takes_all_in_any_order() {
        let options = parse(GOOD).expect("complete");
        assert_eq!((options.control_fd, options.board_fd), (3, 4));
        assert_eq!(options.ack_wait, Duration::from_millis(50));
        assert_eq!(options.lock_path, PathBuf::from("/l"));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse(""), Err(OptionsError::Missing(CONTROL)));
        assert_eq!(
            parse("--control-fd"),
            Err(OptionsError::Bare(CONTROL.to_owned()))
        );
        assert_eq!(
            parse("--what 1"),
            Err(OptionsError::Unknown("--what".to_owned()))
        );
        let bad = parse(&GOOD.replace("fd 3", "fd three")).expect_err("no number");
        assert!(bad.to_string().contains("three"), "{bad}");
    }
}
