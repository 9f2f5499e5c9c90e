//! What sidecar and guard say to each other: orders one way, events the other.

mod emptied;
mod event;
mod order;
mod refusal;

pub use emptied::{EmptyCause, EmptyReport};
pub use event::{Event, PostmasterStatus, ReleaseOutcome, StuckProcess};
pub use order::{Order, PostmasterSignal, Start, StartRole};
pub use refusal::Refusal;
