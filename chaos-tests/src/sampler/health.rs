//! Whose health check says that it is the primary.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Desk, Open};
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
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_WITHIN, asked).await else {
            continue;
        };
        let ended = desk.origin.elapsed();
        let epoch = (answer.status == 200)
            .then(|| epoch(&answer.body))
            .flatten();
        desk.keep(|seen| {
            seen.health_answers += 1;
            seen.open.extend(epoch.map(|epoch| Open {
                member: member.clone(),
                epoch,
                sent,
                ended,
            }));
        });
    }
}

fn epoch(body: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(body)
        .ok()?
        .get("epoch")?
        .as_u64()
}
