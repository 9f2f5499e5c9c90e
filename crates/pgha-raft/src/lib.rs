//! The Raft group of the sidecars: log and state on disk, messages over gRPC, elections, membership.
//! The only crate that knows openraft and sled.
//!
//! openraft keeps the log and counts votes. Around it: [`Store`] makes durable what it may not
//! forget, `network` checks who speaks, `election` decides when to stand, and [`RaftNode`] refuses
//! what openraft would take without a quorum.

mod clock;
mod core;
mod election;
mod machine;
mod membership;
mod network;
mod node;
mod options;
mod propose;
mod recover;
mod role;
mod runtime;
mod store;
mod transfer;
mod types;

#[cfg(test)]
mod tests;

pub use core::Leader;
pub use machine::StateView;
pub use membership::{MembershipChange, MembershipError, VOTERS_MAX};
pub use network::identity::IdentityError;
pub use network::service::RaftService;
pub use node::{Fatal, InitializeError, RaftNode, StartError};
pub use options::{Options, OptionsError};
pub use propose::ProposeError;
pub use recover::{LogExtent, RecoverError, Recovered};
pub use role::RoleView;
pub use store::{LogMembership, RecordError, Store, StoreError, StoreFailure};
pub use transfer::TransferError;
pub use types::{Binding, FormedMember, Peer};
