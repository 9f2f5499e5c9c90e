//! Whether a primary loses its role although only others are slow (P11).

use std::collections::BTreeMap;
use std::time::Duration;

use pgha_core::decide::Heard;
use pgha_core::{MemberName, Mono, invariant};

use crate::world::World;

/// Longer than two reports of a quick member are apart.
const SLOW: Duration = Duration::from_millis(150);

impl World {
    /// An epoch begins: not in a run in which nothing was taken from a primary.
    pub(crate) fn check_role_kept(&mut self) {
        if self.profile.spares_primary() {
            self.check(invariant::role_kept([self.truth.epoch]));
        }
    }
}

/// As they were heard, but whoever was not heard a moment ago is taken to hear nothing of the primary.
pub(crate) fn slow_for_silent(
    peers: &BTreeMap<MemberName, Heard>,
    now: Mono,
) -> BTreeMap<MemberName, Heard> {
    let mut others = peers.clone();
    for heard in others.values_mut().filter(|heard| heard.at + SLOW < now) {
        heard.report.grant.silent = true;
    }
    others
}
