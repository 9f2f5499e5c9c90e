//! PostgreSQL's version numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The version of a PostgreSQL program or server (manual, 19.6 "Upgrading": the first number is
/// the major version and names the on-disk format).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Major version.
    pub major: u32,
    /// Minor version; 0 for a pre-release.
    pub minor: u32,
}

/// The text holds no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version line: expected something like `postgres (PostgreSQL) 15.18`")]
pub struct ParseVersionError(String);

impl Version {
    /// The oldest major version that pgha works with.
    pub const MAJOR_MIN: u32 = 13;
    /// The newest major version that pgha was made for.
    pub const MAJOR_MAX: u32 = 18;

    /// Whether pgha works with this version.
    pub const fn is_supported(self) -> bool {
        Self::MAJOR_MIN <= self.major && self.major <= Self::MAJOR_MAX
    }

    /// The version in a server's `server_version_num`, such as 150018.
    pub const fn from_number(number: u32) -> Self {
        Self {
            major: number / 10_000,
            minor: number % 10_000,
        }
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// Takes what `postgres --version` prints, with a distribution's addition or without.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseVersionError(line.trim().to_owned());
        let (_, rest) = line.split_once("(PostgreSQL)").ok_or_else(wrong)?;
        let word = rest.split_whitespace().next().ok_or_else(wrong)?;
        let digits = word
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(word.len());
        let (major, tail) = word.split_at(digits);
        let major = major.parse().map_err(|_| wrong())?;
        let minor = match tail.strip_prefix('.') {
            Some(minor) => minor.parse().map_err(|_| wrong())?,
            None if is_pre_release(tail) => 0,
            None => return Err(wrong()),
        };
        Ok(Self { major, minor })
    }
}

/// `18beta2`, `17rc1`, `19devel`, and the bare `15`.
fn is_pre_release(tail: &str) -> bool {
    ["", "beta", "rc", "devel"].into_iter().any(|kind| {
        let number = tail.strip_prefix(kind);
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_distributions_print() {
        for (line, major, minor) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                15,
                18,
            ),
            ("postgres (PostgreSQL) 13.22\n", 13, 22),
            (
                "postgres (PostgreSQL) 16.2 (Ubuntu 16.2-1.pgdg22.04+1)",
                16,
                2,
            ),
            ("pg_ctl (PostgreSQL) 18beta2", 18, 0),
            ("postgres (PostgreSQL) 17rc1", 17, 0),
            ("postgres (PostgreSQL) 19devel", 19, 0),
        ] {
            assert_eq!(line.parse(), Ok(Version { major, minor }), "{line}");
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for line in [
            "",
            "postgres 15.1",
            "postgres (PostgreSQL)",
            "x (PostgreSQL) 15.x",
            "x (PostgreSQL) 15foo1",
        ] {
            assert!(line.parse::<Version>().is_err(), "{line}");
        }
    }
}
