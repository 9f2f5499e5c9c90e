//! What the journal cannot know: a primary's data that is destroyed takes the end of its WAL with it.

use pgha_core::Lsn;

use crate::history::HistoryEntry;

/// The journal, as if it told of each loss of `destroyed`'s data the most that P3 permits: `unheard_bytes`
/// more than was last known of it. What was read from the data itself stays as it is.
pub fn at_most(
    journal: &[HistoryEntry],
    destroyed: &[String],
    unheard_bytes: u64,
) -> Vec<HistoryEntry> {
    let mut journal = journal.to_vec();
    for entry in &mut journal {
        let was_destroyed = entry
            .previous_primary
            .as_ref()
            .is_some_and(|name| destroyed.contains(name));
        let Some(from) = entry.lost_from_lsn.or(entry.fork_lsn) else {
            continue;
        };
        if !was_destroyed || entry.lost_final == Some(true) {
            continue;
        }
        let to = Lsn(entry.lost_to_lsn.unwrap_or(from).0 + unheard_bytes);
        entry.lost_from_lsn = Some(from);
        entry.lost_to_lsn = Some(to);
        entry.lost_bytes = Some(from.bytes_behind(to));
    }
    journal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_can_know_is_added() {
        let range_of = |entry: HistoryEntry| {
            let entry = at_most(&[entry], &["n1".to_owned()], 50).remove(0);
            entry.lost_from_lsn.zip(entry.lost_to_lsn)
        };
        let range = |from, to| Some((Lsn(from), Lsn(to)));
        let read = HistoryEntry::example(2, Some((100, 130)));
        let estimated = HistoryEntry {
            lost_final: Some(false),
            ..read.clone()
        };
        let unknown = HistoryEntry::example(2, None);
        let of_another = HistoryEntry {
            previous_primary: Some("n3".to_owned()),
            ..unknown.clone()
        };
        assert_eq!(range_of(unknown), range(100, 150));
        assert_eq!(range_of(estimated), range(100, 180));
        assert_eq!(range_of(read), range(100, 130));
        assert_eq!(range_of(of_another), None);
    }
}
