//! Waiting for what a standby does by itself.

use std::time::Duration;

use pgha_postgres::{Probe, Session};
use tokio::time::Instant;

use super::{LIMIT, Node};

/// Probes until `done`.
pub(crate) async fn until(
    node: &Node,
    session: &mut Session,
    what: &str,
    done: impl Fn(&Probe) -> bool,
) -> Probe {
    let deadline = Instant::now() + LIMIT;
    loop {
        let probe = session.probe(LIMIT).await.unwrap();
        if done(&probe) {
            return probe;
        }
        assert!(
            Instant::now() < deadline,
            "{}: no {what}: {probe:#?}\n{}",
            node.name,
            node.log_text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the standby has replayed all that the primary has now.
pub(crate) async fn caught_up(primary: &Session, standby: &Node, session: &mut Session) -> Probe {
    let end = primary.flush_lsn(LIMIT).await.unwrap();
    until(standby, session, "replay up to the primary", |probe| {
        probe.replay >= Some(end)
    })
    .await
}
