//! An epoch has one start of one server (design 5, "an epoch for each start"), and is never left for an
//! earlier one. One start may serve several epochs: a reinstatement stops nothing.

use std::collections::BTreeMap;

use super::{Write, goes_back};
use crate::sampler::Server;

pub(super) fn judge(writes: &[&Write]) -> Vec<String> {
    let mut wrong = two_starts(writes);
    let acts = writes
        .iter()
        .filter_map(|write| Some((write.epoch?, write.sent, write.ended)));
    wrong.extend(goes_back("the epoch of writes", acts.collect()));
    wrong
}

fn two_starts(writes: &[&Write]) -> Vec<String> {
    let mut starts: BTreeMap<u64, BTreeMap<(&str, i64), &Server>> = BTreeMap::new();
    for write in writes {
        if let Some(epoch) = write.epoch {
            let who = (write.server.address.as_str(), write.server.started_us);
            let known = starts.entry(epoch).or_default();
            known.insert(who, &write.server);
        }
    }
    starts
        .into_iter()
        .filter(|(_, servers)| servers.len() > 1)
        .map(|(epoch, servers)| format!("two starts in epoch {epoch}: {:?}", servers.into_values()))
        .collect()
}
