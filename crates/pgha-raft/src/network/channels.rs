//! Connections to the other members.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pgha_proto::v1::raft_client::RaftClient;
use tonic::transport::{Channel, Endpoint, Error};

const CONNECT_DEADLINE: Duration = Duration::from_millis(300);
/// A connection whose other end vanished is closed after interval and deadline: a dead one in the
/// pool would starve a member that came back (openraft#1770).
const PING_INTERVAL: Duration = Duration::from_secs(4);
const PING_DEADLINE: Duration = Duration::from_secs(1);

/// One lazily opened connection to each address.
#[derive(Default)]
pub(crate) struct Channels {
    open: Mutex<HashMap<String, Channel>>,
}

impl Channels {
    pub(crate) fn client(&self, address: &str) -> Result<RaftClient<Channel>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(address) {
            return Ok(RaftClient::new(channel.clone()));
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_DEADLINE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        open.insert(address.to_owned(), channel.clone());
        Ok(RaftClient::new(channel))
    }

    /// Closes connections to addresses that no member has any more.
    pub(crate) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|address, _| wanted(address));
    }
}
