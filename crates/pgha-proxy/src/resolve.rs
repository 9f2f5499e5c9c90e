//! Host names of other members, with a bounded wait and a memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How long an answer is used without asking again.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// More names than any cluster has members; beyond it the memory starts anew.
const NAMES_MAX: usize = 64;

struct Known {
    at: Instant,
    addresses: Vec<SocketAddr>,
}

/// Resolves `host:port`. The last good answer is used when the name service fails: an outage of it
/// must not add to the outage of a primary.
#[derive(Default)]
pub(crate) struct Resolver {
    known: Mutex<HashMap<String, Known>>,
}

impl Resolver {
    /// All addresses of `host:port`, or why there is none.
    pub(crate) async fn resolve(
        &self,
        address: &str,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, String> {
        if let Ok(literal) = address.parse() {
            return Ok(vec![literal]);
        }
        if let Some(fresh) = self.remembered(address, Some(FRESH_FOR)) {
            return Ok(fresh);
        }
        match timeout(limit, tokio::net::lookup_host(address)).await {
            Ok(Ok(found)) => Ok(self.remember(address, found.collect())),
            Ok(Err(error)) => self.stale_or(address, format!("cannot resolve {address}: {error}")),
            Err(_) => self.stale_or(
                address,
                format!("cannot resolve {address}: no answer in {limit:?}"),
            ),
        }
    }

    fn stale_or(&self, address: &str, error: String) -> Result<Vec<SocketAddr>, String> {
        self.remembered(address, None).ok_or(error)
    }

    fn remembered(&self, address: &str, not_older: Option<Duration>) -> Option<Vec<SocketAddr>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.get(address)?;
        let usable = not_older.is_none_or(|age_max| entry.at.elapsed() < age_max);
        usable.then(|| entry.addresses.clone())
    }

    fn remember(&self, address: &str, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        let entry = Known {
            at: Instant::now(),
            addresses: addresses.clone(),
        };
        known.insert(address.to_owned(), entry);
        addresses
    }
}
