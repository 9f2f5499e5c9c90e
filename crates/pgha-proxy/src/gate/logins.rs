//! The logins of one epoch that are under way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By a number of their own, as an address may be used again before its last login is forgotten.
#[derive(Default)]
pub(super) struct Logins(Mutex<Numbered>);

#[derive(Default)]
struct Numbered {
    under_way: HashMap<u64, SocketAddr>,
    next: u64,
}

impl Logins {
    pub(super) fn begin(self: &Arc<Self>, from: SocketAddr) -> Login {
        let mut numbered = self.lock();
        let number = numbered.next;
        numbered.next += 1;
        numbered.under_way.insert(number, from);
        drop(numbered);
        Login {
            logins: Arc::clone(self),
            number,
        }
    }

    pub(super) fn under_way(&self) -> Vec<SocketAddr> {
        self.lock().under_way.values().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From the connection to PostgreSQL until its session is ready, or may be; over when dropped.
pub(crate) struct Login {
    logins: Arc<Logins>,
    number: u64,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.logins.lock().under_way.remove(&self.number);
    }
}
