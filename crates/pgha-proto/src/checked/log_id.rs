//! Places in the Raft log: their order, and one word for each.

use crate::v1;

/// Raft orders log ids by term, then leader, then index (Raft paper, 5.4.1; the leader breaks ties
/// between several leaders of one term, which openraft's default mode allows).
impl Ord for v1::LogId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |id: &Self| (id.term, id.leader_raft_id, id.index);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for v1::LogId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Term, leader and index in one word, for messages to people.
pub fn log_id_text(log_id: Option<&v1::LogId>) -> String {
    log_id.map_or_else(
        || "none".to_owned(),
        |id| format!("T{}-N{}.{}", id.term, id.leader_raft_id, id.index),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_ids_order_by_term_then_leader_then_index() {
        let id = |term, leader_raft_id, index| v1::LogId {
            term,
            leader_raft_id,
            index,
        };
        let ascending = [id(1, 1, 9), id(1, 2, 3), id(2, 1, 1), id(2, 1, 2)];
        assert!(ascending.is_sorted());
        assert_eq!(log_id_text(Some(&id(2, 1, 7))), "T2-N1.7");
    }
}
