//! Who belongs to the Raft group. All changes go through one task: two at a time can interleave and
//! leave the group in a joint configuration.

mod change;
mod execute;
mod task;
mod voters;

pub use change::{MembershipChange, MembershipError};
pub(crate) use task::Changes;

/// More voters make every entry slower and nothing safer.
pub const VOTERS_MAX: usize = 7;

/// Done, or why not.
type Outcome = Result<(), MembershipError>;
