//! Members in one process, each with a runtime of its own, and in processes of their own, over real
//! gRPC on loopback.

mod doubts;
mod elections;
mod forming;
mod freezing;
mod harness;
mod identities;
mod idle;
mod members;
mod process;
mod quorum;
mod recovery;
mod snapshots;
mod stalling;
mod transfers;
