//! What pgha decides, and nothing else: replicated state, commands, decisions, lease arithmetic,
//! invariants. Knows no clock, no randomness, no IO and no runtime; all of it is given as arguments.

pub mod command;
pub mod decide;
pub mod formation;
pub mod gate;
mod ids;
pub mod invariant;
pub mod journal;
pub mod lease;
pub mod lineage;
mod lsn;
mod member;
mod reason;
pub mod report;
mod secret;
pub mod settings;
pub mod state;
pub mod sync;
mod time;

pub use command::{Command, StartKind};
pub use ids::{
    ClusterId, Epoch, ForkId, Generation, MemberName, Nonce, RaftId, StoreId, SystemIdentifier,
    TimelineId,
};
pub use lsn::{Lsn, LsnError};
pub use member::{Addresses, Member, MemberKind};
pub use reason::Reason;
pub use secret::Secret;
pub use settings::Settings;
pub use state::{Applied, ClusterState, Fitness, Phase, Refusal};
pub use time::Mono;
