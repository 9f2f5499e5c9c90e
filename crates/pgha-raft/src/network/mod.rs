//! Raft's messages over gRPC.

pub(crate) mod acks;
pub(crate) mod channels;
pub(crate) mod client;
pub(crate) mod codec;
pub(crate) mod identity;
pub(crate) mod probe;
pub(crate) mod service;
pub(crate) mod snapshot;
