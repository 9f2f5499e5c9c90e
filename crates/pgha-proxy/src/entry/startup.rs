//! A limit on clients that have connected and not spoken yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts silent connections by address, so that one address cannot take all the room with
/// connections that cost it nothing.
pub(crate) struct StartupLimit {
    max: usize,
    silent: Mutex<HashMap<IpAddr, usize>>,
}

impl StartupLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            silent: Mutex::default(),
        }
    }
}

/// A connection that has not sent its first packet.
pub(super) struct StartupSlot {
    limit: Arc<StartupLimit>,
    address: IpAddr,
}

impl StartupSlot {
    /// `None` where the address has as many as it may.
    pub(super) fn take(limit: &Arc<StartupLimit>, address: IpAddr) -> Option<Self> {
        let mut silent = limit.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let count = silent.entry(address).or_insert(0);
        if *count >= limit.max {
            return None;
        }
        *count += 1;
        drop(silent);
        Some(Self {
            limit: Arc::clone(limit),
            address,
        })
    }
}

impl Drop for StartupSlot {
    fn drop(&mut self) {
        let mut silent = self
            .limit
            .silent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = silent.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                silent.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_does_not_take_the_room_of_another() {
        let limit = Arc::new(StartupLimit::new(1));
        let one = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let slot = StartupSlot::take(&limit, one);
        assert!(slot.is_some());
        assert!(StartupSlot::take(&limit, one).is_none());
        assert!(StartupSlot::take(&limit, other).is_some());
        drop(slot);
        assert!(StartupSlot::take(&limit, one).is_some());
        assert!(limit.silent.lock().unwrap().is_empty());
    }
}
