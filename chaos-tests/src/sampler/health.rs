//! Whose health check says that it is the primary.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Desk, Gate, Open};
use crate::http;
use crate::netns::Namespace;

const ANSWER_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn look(
    desk: Desk,
    member: String,
    namespace: Option<Namespace>,
    address: SocketAddr,
) {
    let mut tick = super::ticks();
    while !desk.is_over() {
        tick.tick().await;
        let sent = desk.origin.elapsed();
        let asked = http::get_from(namespace.as_ref(), address, "/primary");
        let answer = tokio::time::timeout(ANSWER_WITHIN, asked).await;
        let ended = desk.origin.elapsed();
        let epoch = match answer {
            Ok(Ok(answer)) if answer.status == 200 => open_epoch(&answer.body),
            Ok(_) | Err(_) => None,
        };
        // What nobody says is not known: a row is not given the epoch of long ago.
        desk.gates().insert(member.clone(), Gate { epoch, sent });
        desk.keep(|seen| {
            seen.open.extend(epoch.map(|epoch| Open {
                member: member.clone(),
                epoch,
                sent,
                ended,
            }));
        });
    }
}

/// The epoch of the open gate, from the body of a health check that answered 200.
pub(crate) fn open_epoch(body: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(body)
        .ok()?
        .get("epoch")?
        .as_u64()
}
