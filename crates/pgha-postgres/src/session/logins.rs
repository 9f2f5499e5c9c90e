//! Who is logged in.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Session, SessionError};

/// A backend has no state before its first ReadyForQuery; since PostgreSQL 18 it is `starting`.
const LOGGED_IN: &str = "SELECT client_addr, client_port \
     FROM pg_catalog.pg_stat_get_activity(NULL) \
     WHERE client_port > 0 AND state IS NOT NULL AND state <> 'starting'";

impl Session {
    /// The addresses of all clients that reached PostgreSQL over TCP and are logged in, encrypted
    /// or not. Each of them was sent its first ReadyForQuery, or is being sent it and will not be
    /// kept from it by a fast stop.
    pub async fn logged_in(&self, limit: Duration) -> Result<HashSet<SocketAddr>, SessionError> {
        let rows = self.rows(LOGGED_IN, limit).await?;
        rows.iter()
            .map(|row| {
                let ip: IpAddr = row.required("client_addr")?;
                Ok(SocketAddr::new(ip, row.required("client_port")?))
            })
            .collect()
    }
}
