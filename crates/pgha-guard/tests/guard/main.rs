//! A real guard over real process trees: shells, and PostgreSQL.

#[path = "../../examples/pgha-guard-test/protocol.rs"]
mod protocol;

mod after_death;
mod fencing;
mod orders;
mod postgres;
mod proc;
mod releasing;
mod standby;
mod world;
