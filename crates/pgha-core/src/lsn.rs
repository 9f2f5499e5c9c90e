//! Positions in PostgreSQL's write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A byte position in the WAL, printed as PostgreSQL prints it (manual, 8.20 "`pg_lsn` Type").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

/// Of each half (`MAXPG_LSNCOMPONENT`).
const DIGITS_MAX: usize = 8;

/// The text is not two hexadecimal numbers with a slash between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an LSN: expected two hexadecimal numbers such as 0/16B3748")]
pub struct LsnError(String);

impl Lsn {
    /// PostgreSQL's invalid position: nothing was ever written.
    pub const ZERO: Self = Self(0);

    /// Bytes by which this position is behind `ahead`; 0 where it is not behind.
    pub const fn bytes_behind(self, ahead: Self) -> u64 {
        ahead.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Self, LsnError> {
        let wrong = || LsnError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        // `from_str_radix` takes a sign, and more digits where they are zeros; PostgreSQL neither.
        if [high, low]
            .iter()
            .any(|part| part.len() > DIGITS_MAX || !part.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(wrong());
        }
        let high = u32::from_str_radix(high, 16).map_err(|_| wrong())?;
        let low = u32::from_str_radix(low, 16).map_err(|_| wrong())?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule of PostgreSQL's `pg_lsn_in`, written down once more.
    fn as_postgresql_reads(text: &str) -> Option<u64> {
        let part = |part: &str| {
            let digits: Option<Vec<_>> = part.chars().map(|digit| digit.to_digit(16)).collect();
            let digits = digits.filter(|digits| (1..=8).contains(&digits.len()))?;
            Some(
                digits
                    .iter()
                    .fold(0, |sum, digit| sum << 4 | u64::from(*digit)),
            )
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            [high, low] => Some(part(high)? << 32 | part(low)?),
            _ => None,
        }
    }

    /// Mostly almost a position.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "0{0,3}[0-9a-fA-F]{0,8}/0{0,3}[0-9a-fA-F]{0,8}",
            2 => "[0-9A-F]{1,8}[/ +-]{0,2}[0-9A-F]{1,8}[/ \n]?",
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn text_round_trips(value: u64) {
            prop_assert_eq!(Lsn(value).to_string().parse::<Lsn>(), Ok(Lsn(value)));
        }

        #[test]
        fn any_text_is_read_as_postgresql_reads_it_or_refused(text in any_text()) {
            let read = text.parse::<Lsn>();
            prop_assert_eq!(read.clone().ok(), as_postgresql_reads(&text).map(Lsn));
            if let Ok(lsn) = read {
                prop_assert_eq!(lsn.to_string().parse::<Lsn>(), Ok(lsn));
            }
        }

        /// The ends of the range too: a lag that wraps round would be the largest or none at all.
        #[test]
        fn of_two_positions_at_most_one_is_behind(
            one in prop_oneof![0..9_u64, u64::MAX - 9..=u64::MAX, any::<u64>()],
            other in prop_oneof![0..9_u64, u64::MAX - 9..=u64::MAX, any::<u64>()],
        ) {
            let (behind, ahead) = (Lsn(one.min(other)), Lsn(one.max(other)));
            prop_assert_eq!(ahead.bytes_behind(behind), 0);
            prop_assert_eq!(behind.0.checked_add(behind.bytes_behind(ahead)), Some(ahead.0));
            prop_assert_eq!(Lsn::ZERO.bytes_behind(ahead), ahead.0);
        }
    }

    #[test]
    fn refuses_what_postgresql_refuses() {
        for text in [
            "",
            "0",
            "/",
            "0/",
            "+1/0",
            "1/-1",
            "0/123456789",
            "g/0",
            "0/0/0",
            " 0/0",
            "0/000000001",
        ] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
