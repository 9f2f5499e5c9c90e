//! The way back of a member that lost its store: a new raft id that replaces the old one.

mod answer;
mod ask;
mod follow_members;
mod refusal;

pub(crate) use self::answer::answer;
pub(crate) use self::ask::ask;
pub(crate) use self::follow_members::follow_members;
pub(crate) use self::refusal::Refusal;
