//! A deterministic simulator: real deciders over a model of everything else. One number determines
//! a run.

pub mod agent;
pub mod check;
pub mod clients;
pub mod event;
pub mod executor;
pub mod fault;
pub mod guard;
pub mod job;
pub mod lease;
pub mod line;
pub mod mend;
pub mod mutant;
pub mod network;
pub mod node;
pub mod observe;
pub mod operator;
pub mod postgres;
pub mod raft;
pub mod receiver;
pub mod recovery;
pub mod run;
pub mod time;
pub mod tracked;
pub mod wal;
pub mod world;
