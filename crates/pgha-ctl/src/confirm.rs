//! Asks before a change.

use std::io::{BufRead, IsTerminal, Write};

use crate::error::CtlError;

/// How a change gets its permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Given on the command line.
    Given,
    /// To be asked for on the terminal.
    Ask,
}

impl Permission {
    /// Refuses before anybody is contacted where nobody can be asked.
    pub(crate) fn from_flag(yes: bool) -> Result<Self, CtlError> {
        Self::decide(yes, std::io::stdin().is_terminal())
    }

    fn decide(yes: bool, terminal: bool) -> Result<Self, CtlError> {
        match (yes, terminal) {
            (true, _) => Ok(Self::Given),
            (false, true) => Ok(Self::Ask),
            (false, false) => Err(CtlError::Usage(
                "this changes the cluster and there is no terminal to ask on; give --yes"
                    .to_owned(),
            )),
        }
    }

    /// Asks, unless the permission was given.
    pub(crate) fn obtain(self, question: &str) -> Result<(), CtlError> {
        match self {
            Self::Given => Ok(()),
            Self::Ask => ask(
                question,
                &mut std::io::stdin().lock(),
                &mut std::io::stderr().lock(),
            ),
        }
    }

    /// Asks for a word that nobody types by habit, unless the permission was given.
    pub(crate) fn obtain_typed(self, question: &str, word: &str) -> Result<(), CtlError> {
        match self {
            Self::Given => Ok(()),
            Self::Ask => ask_word(
                question,
                word,
                &mut std::io::stdin().lock(),
                &mut std::io::stderr().lock(),
            ),
        }
    }
}

fn ask(question: &str, input: &mut impl BufRead, out: &mut impl Write) -> Result<(), CtlError> {
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(not_confirmed())
}

fn ask_word(
    question: &str,
    word: &str,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    write!(out, "{question}: ")?;
    out.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if answer.trim() == word {
        return Ok(());
    }
    Err(not_confirmed())
}

fn not_confirmed() -> CtlError {
    CtlError::Usage("not confirmed, nothing was changed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_only_the_flag_permits() {
        assert_eq!(
            Permission::decide(true, false).expect("given"),
            Permission::Given
        );
        assert_eq!(
            Permission::decide(false, true).expect("asks"),
            Permission::Ask
        );
        assert_eq!(
            Permission::decide(false, false)
                .expect_err("refused")
                .exit_code(),
            2
        );
    }

    #[test]
    fn only_the_word_itself_will_do() {
        for (answer, accepted) in [
            ("n1\n", true),
            (" n1 ", true),
            ("y\n", false),
            ("N1\n", false),
            ("", false),
        ] {
            let mut shown = Vec::new();
            let result = ask_word("Type n1", "n1", &mut answer.as_bytes(), &mut shown);
            let code = result.map_or_else(|error| error.exit_code(), |()| 0);
            assert_eq!(code, if accepted { 0 } else { 2 }, "{answer:?}");
            assert_eq!(shown, b"Type n1: ");
        }
    }

    #[test]
    fn only_yes_is_a_yes() {
        for (answer, accepted) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yo\n", false),
        ] {
            let mut shown = Vec::new();
            let result = ask("Switch over?", &mut answer.as_bytes(), &mut shown);
            let code = result.map_or_else(|error| error.exit_code(), |()| 0);
            assert_eq!(code, if accepted { 0 } else { 2 }, "{answer:?}");
            assert_eq!(shown, b"Switch over? [y/N] ");
        }
    }
}
