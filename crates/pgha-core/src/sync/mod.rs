//! Synchronous replication: which standbys a commit waits for, and who may be promoted so that no
//! acknowledged commit is lost (P2).
//!
//! Nothing calls this yet: the settings accept no `sync.mode` but `async`. It is the rule by which the
//! synchronous modes will go, and the model check holds it against every mixture of configurations.
//!
//! What PostgreSQL does is in its manual, "Synchronous Replication" and `synchronous_standby_names`, and in
//! the behaviour of its walsenders. Each walsender reads the configuration at its own reload, sets its
//! own standby's priority by it, and on each confirmation decides by its own count and method, over the
//! priorities that all of them have set, up to which position waiting commits are let go
//! ([`released_by`]). So while a change goes through, commits are let go by mixtures of the old and the
//! new, and a promotion has to be safe for each of them ([`InForce`]).

mod in_force;
mod promotion;
mod set;
mod steps;
#[cfg(test)]
mod tests;
mod walsender;

pub use in_force::{InForce, NotOneStep};
pub use promotion::{PromotionRefused, SyncReport, may_promote};
pub use set::{Method, SyncSet, SyncSetError};
pub use steps::next_step;
pub use walsender::{Walsender, released_by};
