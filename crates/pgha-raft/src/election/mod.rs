//! When to elect. openraft 0.9 has no PreVote and draws its patience once: a follower that was
//! frozen took the leadership whenever it thawed. So its own elections are off, and each member has
//! one task that decides when to stand.

pub(crate) mod doubt;
pub(crate) mod ear;
pub(crate) mod patience;
pub(crate) mod prevote;
mod pulse;
pub(crate) mod supervisor;
