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
        let password = escape(self.password.expose()).map_err(|error| QuoteError {
            text: "(a password)".to_owned(),
            ..error
        })?;
        Ok(format!("*:*:*:{}:{password}\n", escape(self.user)?))
    }
}

/// A field that is nothing but a star would fit everybody.
fn escape(text: &str) -> Result<String, QuoteError> {
    Ok(refuse_control(text)?
        .replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace('*', "\\*"))
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

    fn nasty() -> impl Strategy<Value = String> {
        "([*:'\"\\\\= #\t-]|\\\\[n:']|[^\\p{Cc}]){0,12}"
    }

    /// All pairs of a connection string whose values are quoted.
    fn pairs(text: &str) -> Option<Vec<(String, String)>> {
        let mut chars = text.chars();
        let mut pairs = Vec::new();
        loop {
            let keyword: String = chars.by_ref().take_while(|c| *c != '=').collect();
            let keyword = keyword.trim().to_owned();
            let Some(quote) = chars.next() else {
                return keyword.is_empty().then_some(pairs);
            };
            let mut value = String::new();
            loop {
                match chars.next().filter(|_| quote == '\'')? {
                    '\'' => break,
                    '\\' => value.push(chars.next()?),
                    other => value.push(other),
                }
            }
            pairs.push((keyword, value));
        }
    }

    /// What stands in the fifth field of a line whose other fields fit.
    fn find_password(line: &str, user: &str) -> Option<String> {
        let mut fields = vec![(String::new(), true)];
        let mut chars = line.strip_suffix('\n')?.chars();
        while let Some(c) = chars.next() {
            let (field, is_plain) = fields.last_mut()?;
            match c {
                ':' => fields.push((String::new(), true)),
                '\\' => {
                    field.push(chars.next()?);
                    *is_plain = false;
                }
                other => field.push(other),
            }
        }
        let [host, port, database, user_field, (password, _)] = &fields[..] else {
            return None;
        };
        let any = ("*".to_owned(), true);
        let is_for_all = [host, port, database]
            .into_iter()
            .all(|field| *field == any);
        let fits = user_field.0 == user || *user_field == any;
        (is_for_all && fits).then(|| password.clone())
    }

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

        /// As the manual describes them, 34.1.1.1 "Keyword/Value Connection Strings".
        #[test]
        fn each_pair_is_read_back(values in prop::collection::vec(nasty(), 0..5)) {
            let built = values
                .iter()
                .try_fold(Conninfo::new(), |text, value| text.with("user", value))
                .unwrap();
            let read = pairs(built.as_str());
            let wanted = values.into_iter().map(|value| ("user".to_owned(), value));
            prop_assert_eq!(read, Some(wanted.collect()));
        }

        /// As the manual describes it, 34.16 "The Password File".
        #[test]
        fn libpq_finds_the_password_of_the_user_and_of_nobody_else(
            user in prop_oneof![nasty(), Just("*".to_owned())],
            other in prop_oneof![nasty(), "[a*]"],
            password in nasty(),
        ) {
            let secret = Secret::new(password.clone());
            let line = Passfile { user: &user, password: &secret }.render().unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(find_password(&line, &user), Some(password));
            prop_assert_eq!(find_password(&line, &other).is_some(), user == other);
        }

        #[test]
        fn what_ends_a_line_or_the_text_is_refused(
            start in nasty(),
            end in prop_oneof![Just('\0'), Just('\n'), Just('\r')],
            rest in nasty(),
        ) {
            let text = format!("{start}{end}{rest}");
            prop_assert!(Conninfo::new().with("user", &text).is_err());
            let (bad, good) = (Secret::new(text.clone()), Secret::new("good".to_owned()));
            for (user, password) in [(text.as_str(), &good), ("good", &bad)] {
                let passfile = Passfile { user, password };
                prop_assert!(passfile.render().is_err(), "{user:?}");
            }
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
