//! Channels to other members.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

const CONNECT_MAX: Duration = Duration::from_millis(500);

/// A channel to `address`, connected at its first use and again after each failure. `None` where
/// the text is no address. It asks nobody whether the other side is there: each call and each stream
/// has a deadline of its own that is shorter, and an idle sidecar wakes less.
pub(crate) fn channel(address: &str) -> Option<Channel> {
    Some(endpoint(address)?.connect_lazy())
}

/// A channel to `address` that is connected. `None` where nobody answers there.
pub(crate) async fn connect(address: &str) -> Option<Channel> {
    endpoint(address)?.connect().await.ok()
}

fn endpoint(address: &str) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let endpoint = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true);
    Some(endpoint)
}

/// Whether the other side's kernel answered that nobody listens: proof that the process is gone, as
/// silence never is.
pub(crate) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}
