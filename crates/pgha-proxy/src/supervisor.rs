//! The one task that turns changes into wake-ups and ends sessions at the gate's deadline.
//!
//! It is a convenience, not the safeguard: the check before each write is what keeps bytes from
//! passing. This task makes sessions that are silent end at once too.

use std::sync::Arc;
use std::time::Duration;

use pgha_core::{Epoch, Mono};
use tokio_util::sync::CancellationToken;

use crate::runtime::ProxyRuntime;
use crate::shared::Shared;

/// With no deadline ahead the state is still looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub(crate) async fn supervise(
    shared: &Arc<Shared>,
    runtime: &ProxyRuntime,
    shutdown: &CancellationToken,
) {
    let mut routes = shared.routes.clone();
    let mut routes_live = true;
    let mut seen = None;
    loop {
        // Seen before it is acted upon: a change in between comes round again.
        let current = Arc::clone(&routes.borrow_and_update());
        shared.follow_routes(&current);
        shared.gate.cell().lapse();
        shared.tick();
        // New lag figures in the routes are no reason to wake thousands of sessions.
        let orders = orders(shared);
        if seen.replace(orders) != Some(orders) {
            runtime.wake_sessions();
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = shared.gate.changed() => break,
                () = shared.admission.changed() => break,
                changed = routes.changed(), if routes_live => {
                    // The last routes stay in force when their sender is gone.
                    routes_live = changed.is_ok();
                    break;
                }
                () = tokio::time::sleep(until_deadline(shared)) => {
                    if lapsed_just_now(shared) {
                        break;
                    }
                }
            }
        }
    }
}

/// All that an established session obeys: epoch, over, draining.
fn orders(shared: &Shared) -> [(Epoch, bool, bool); 4] {
    shared
        .cells()
        .map(|cell| (cell.epoch, cell.is_over(), cell.is_draining()))
}

fn until_deadline(shared: &Shared) -> Duration {
    let close_at = shared.gate.setting().close_at;
    if close_at == Mono::ZERO {
        return LOOK_INTERVAL;
    }
    close_at.since(shared.gate.now()).min(LOOK_INTERVAL)
}

fn lapsed_just_now(shared: &Shared) -> bool {
    let cell = shared.gate.cell();
    !cell.is_over() && cell.lapse()
}
