//! Everything that this crate does, on real PostgreSQL servers.

mod common;
mod failover;
mod initdb;
mod jobs;
mod liveness;
mod logins;
mod parameters;
mod quoting;
mod sessions;
mod start;
mod wal_tail;
