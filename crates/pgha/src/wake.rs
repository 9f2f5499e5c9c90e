//! Wakes the agent's loop.

use std::sync::Arc;

use tokio::sync::Notify;

/// Something happened that a decision may depend on. Waking twice before the loop runs is waking once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wake(Arc<Notify>);

impl Wake {
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}
