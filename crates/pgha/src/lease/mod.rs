//! The lease on its own threads: renewals and grants must not wait for anything else this process
//! does, and no disk is in their path but for the first grant of an epoch.

mod electorate;
mod grants;
mod holder;
mod renewals;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use electorate::ElectorateWatch;
pub(crate) use grants::Grants;
pub(crate) use holder::{HolderHandle, HolderThread};
pub(crate) use renewals::{LeaseService, LeaseSlot};
pub(crate) use shared::HolderShared;
