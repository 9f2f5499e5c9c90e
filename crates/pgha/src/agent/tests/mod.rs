//! What the agent makes of one event or one order after the other; its loop does not run.

mod guard_events;
mod hurry;
mod late_start;
mod rig;
