//! The superuser's password: from a variable, the file, or a file of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pgha_core::Secret;

use super::error::ConfigError;

const KEY: &str = "postgres.superuser_password";
const FILE_KEY: &str = "postgres.superuser_password_file";

/// A password that was given as such.
pub(super) fn parse(text: &str) -> Result<Secret, ConfigError> {
    checked(KEY, text)
}

/// A password in the only line of a file.
pub(super) fn read(path: &Path) -> Result<Secret, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        key: FILE_KEY,
        path: path.to_owned(),
        error,
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    checked(FILE_KEY, line.strip_suffix('\r').unwrap_or(line))
}

fn checked(key: &'static str, text: &str) -> Result<Secret, ConfigError> {
    // The text itself must not stand in the message.
    if text.is_empty() || text.chars().any(char::is_control) {
        let what = "the password is empty or has control characters; expected one line of text";
        return Err(ConfigError::Refused {
            key,
            what: what.to_owned(),
        });
    }
    Ok(Secret::new(text.to_owned()))
}

/// Whether users beside the owner and group may read the file.
pub(super) fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o004 != 0)
}

/// Both keys were given, and nothing says which one counts.
pub(super) fn both_given() -> ConfigError {
    let what = format!("{FILE_KEY} is given too; give one of them");
    ConfigError::Refused { key: KEY, what }
}
