//! The wire between members, and between `pgha-ctl` and a member: generated code, and the checked
//! way from what came over the network to the types of the core.

mod checked;

pub use checked::{
    FieldError, Parties, address, check_form, check_member, log_id_text, missing, raft_id, store_id,
};

/// Package `pgha.v1` as generated from `proto/pgha/v1`; the comments are in the `.proto` files.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::or_fun_call,
    clippy::use_self,
    clippy::semicolon_if_nothing_returned,
    clippy::manual_let_else
)]
pub mod v1 {
    tonic::include_proto!("pgha.v1");
}
