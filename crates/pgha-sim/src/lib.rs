//! A deterministic simulator: real deciders over a model of everything else. One number determines
//! a run.

pub mod agent;
pub mod check;
pub mod chronicle;
pub mod clients;
pub mod coverage;
pub mod event;
pub mod executor;
pub mod fault;
pub mod guard;
pub mod job;
mod keeping;
pub mod lease;
pub mod line;
pub mod mend;
pub mod mutant;
pub mod network;
pub mod node;
pub mod observe;
pub mod operator;
pub mod plan;
pub mod postgres;
pub mod profile;
pub mod raft;
pub mod receiver;
pub mod recovery;
mod replace;
pub mod run;
pub mod script;
pub mod shrink;
pub mod strike;
pub mod synchronous;
pub mod time;
pub mod told;
pub mod tracked;
pub mod wal;
pub mod world;
