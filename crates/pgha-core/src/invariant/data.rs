//! P7 and P8: data directories.

use super::Violation;
use crate::{Lsn, MemberName};

/// P7: whoever receives from `upstream`, or rewinds to it, has with it the past that it takes for granted.
/// `believed` is how far that goes, `truly` how far it does.
pub fn one_history(
    receiver: &MemberName,
    upstream: &MemberName,
    believed: Lsn,
    truly: Lsn,
) -> Result<(), Violation> {
    if believed <= truly {
        return Ok(());
    }
    Err(Violation::Mixed {
        receiver: receiver.clone(),
        at: believed,
        upstream: upstream.clone(),
    })
}

/// P8: PostgreSQL is started on whole data; `marker` says that a clone, a rewind or an initdb has not ended.
pub fn started_whole(member: &MemberName, marker: bool) -> Result<(), Violation> {
    if !marker {
        return Ok(());
    }
    let member = member.clone();
    Err(Violation::Marker { member })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_that_was_not_shared_is_seen() {
        let judged = |believed, truly| {
            one_history(&"n2".into(), &"n1".into(), Lsn(believed), Lsn(truly)).is_ok()
        };
        assert_eq!(
            [judged(7, 7), judged(6, 7), judged(8, 7)],
            [true, true, false]
        );
        assert!(started_whole(&"n2".into(), false).is_ok());
        assert!(started_whole(&"n2".into(), true).is_err());
    }
}
