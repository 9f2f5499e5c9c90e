//! Starts real pgha clusters on real PostgreSQL, breaks them, and judges what clients saw.
//!
//! The harness only uses what an operator has: the documented flags, `pgha-ctl`, the ports, signals
//! and the file system. What a cluster ended in is asked of PostgreSQL itself, never of pgha alone.

pub mod account;
pub mod bench;
pub mod binaries;
pub mod busy;
pub mod campaign;
pub mod certificate;
pub mod checker;
pub mod cluster;
pub mod ctl;
pub mod end_state;
pub mod exposition;
pub mod faults;
pub mod fencing;
pub mod footprint;
pub mod history;
pub mod http;
pub mod load;
pub mod member;
pub mod mix;
pub mod mount;
pub mod nemesis;
pub mod netns;
pub mod options;
pub mod part;
pub mod plain;
pub mod ports;
pub mod process;
pub mod reader;
pub mod refusal;
pub mod registers;
pub mod round;
pub mod sampler;
pub mod scene;
pub mod scratch;
pub mod secrecy;
pub mod skip;
pub mod sql;
pub mod stamped;
pub mod status;
pub mod storm;
pub mod told;
pub mod tree_watch;
pub mod trial;
pub mod wait;

pub use cluster::Cluster;
pub use load::Load;
pub use member::Member;
pub use options::ClusterOptions;
