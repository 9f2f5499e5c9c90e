//! Connection strings and password files, as libpq reads them.

use std::fmt;
use std::path::Path;

use pgha_core::Secret;

use super::quote::{QuoteError, refuse_control};
use crate::files::{FileError, write_atomically};

/// A connection string, built pair by pair (manual, 34.1.1.1 "Keyword/Value Connection Strings").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conninfo(String);

impl Conninfo {
    /// An empty one.
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Adds `keyword='value'`.
    pub fn with(mut self, keyword: &str, value: &str) -> Result<Self, QuoteError> {
        let value = refuse_control(value)?
            .replace('\\', "\\\\")
            .replace('\'', "\\'");
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(&format!("{keyword}='{value}'"));
        Ok(self)
    }

    /// Limits that make a dead peer known within seconds: the kernel would otherwise keep a
    /// half-open connection for hours.
    pub fn with_dead_peer_limits(self) -> Result<Self, QuoteError> {
        self.with("connect_timeout", "3")?
            .with("keepalives_idle", "2")?
            .with("keepalives_interval", "1")?
            .with("keepalives_count", "3")?
            .with("tcp_user_timeout", "5000")
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The content of a password file: one role's password for whatever host it connects to.
#[derive(Clone, Debug)]
pub struct Passfile<'a> {
    /// The role.
    pub user: &'a str,
    /// Its password.
    pub password: &'a Secret,
}

impl Passfile<'_> {
    /// Writes it, mode 0600: libpq ignores it otherwise. The password is in no argument list, no
    /// environment and no PostgreSQL setting, so neither in any log.
    pub fn write(&self, path: &Path) -> Result<(), PassfileError> {
        Ok(write_atomically(path, self.render()?.as_bytes())?)
    }

    fn render(&self) -> Result<String, QuoteError> {
        let password = escape(self.password.expose()).map_err(|_| QuoteError {
            text: "(a password)".to_owned(),
        })?;
        Ok(format!("*:*:*:{}:{password}\n", escape(self.user)?))
    }
}

fn escape(text: &str) -> Result<String, QuoteError> {
    Ok(refuse_control(text)?
        .replace('\\', "\\\\")
        .replace(':', "\\:"))
}

/// The password file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PassfileError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The text does not fit into one line.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Read back by another implementation of the same grammar.
        #[test]
        fn connection_strings_round_trip(
            user in "[^\\p{Cc}]{1,30}",
            application in "[^\\p{Cc}]{1,30}",
        ) {
            let text = Conninfo::new()
                .with("host", "10.0.0.1").unwrap()
                .with("user", &user).unwrap()
                .with("application_name", &application).unwrap();
            let parsed: tokio_postgres::Config = text.as_str().parse().unwrap();
            prop_assert_eq!(parsed.get_user(), Some(user.as_str()));
            prop_assert_eq!(parsed.get_application_name(), Some(application.as_str()));
        }
    }

    #[test]
    fn passwords_keep_their_colons_and_backslashes() {
        let password = Secret::new(r"a:b\c".to_owned());
        let passfile = Passfile {
            user: "re:pl",
            password: &password,
        };
        assert_eq!(passfile.render().unwrap(), "*:*:*:re\\:pl:a\\:b\\\\c\n");
    }

    #[test]
    fn a_refused_password_is_not_shown() {
        let password = Secret::new("hidden\n".to_owned());
        let error = Passfile {
            user: "r",
            password: &password,
        }
        .render()
        .unwrap_err();
        assert!(!error.to_string().contains("hidden"));
    }
}
