//! Cancel requests (PostgreSQL manual, 55.2.8 "Canceling Requests in Progress").
//!
//! They carry no address: whoever might run the query gets the request, and those to whom its key
//! means nothing ignore it. There is no answer but the close.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::PortKind;
use super::attempt::connect;
use super::first_bytes::write_all;
use super::plan::{Address, Candidate, plan_cancel};
use crate::shared::Shared;
use crate::stats::count;

/// Servers that get one request; more than any cluster has.
const SERVERS_MAX: usize = 16;

/// Sends `request` to everybody who may run the query. Nothing is held: without a server there is
/// no query.
pub(super) async fn pass_on(request: &[u8], port: PortKind, shared: &Arc<Shared>) {
    let candidates = plan_cancel(shared, port);
    join_all(
        candidates
            .into_iter()
            .take(SERVERS_MAX)
            .map(|candidate| send(request, candidate, shared)),
    )
    .await;
}

/// Sends `request` to one server and waits until it closes, which says that it has acted.
pub(super) async fn send(request: &[u8], candidate: Candidate, shared: &Shared) {
    let name = candidate.name.clone();
    match timeout(
        shared.limits.answer_timeout,
        deliver(request, candidate, shared),
    )
    .await
    {
        Ok(Ok(())) => count(&shared.stats.cancels_total),
        Ok(Err(why)) => tracing::info!(%name, %why, "cancel request not delivered"),
        Err(_) => tracing::info!(%name, "cancel request not confirmed in time"),
    }
}

async fn deliver(request: &[u8], candidate: Candidate, shared: &Shared) -> Result<(), String> {
    let server = connect(&candidate.address, shared).await?;
    let mut bytes = match &candidate.address {
        Address::Postgres(_) => Vec::new(),
        Address::Sidecar { preamble, .. } => preamble.encode().to_vec(),
    };
    bytes.extend_from_slice(request);
    write_all(&server, &bytes, || candidate.pass.may_pass())
        .await
        .map_err(|error| error.to_string())?;
    // Whether it closes or resets, it has read the request.
    let _ = server.readable().await;
    Ok(())
}
