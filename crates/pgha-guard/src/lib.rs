//! The guard: the small process that is the parent of the postmaster, kills its whole process tree
//! at the end of the lease without asking anybody, and proves that nothing of it is left.
//!
//! Two sides live here. [`guard_main`] is the guard itself: no async, one thread, no network.
//! [`GuardHandle`], [`LeaseBoard`], [`tree`] and [`take_over`] are for the sidecar, which starts
//! a guard, tells it how long the lease lasts, and cleans up after one that died.
//!
//! Why so much for a process tree: killing the postmaster alone does not stop writes, a busy
//! backend goes on committing for seconds, and each backend leads a process group of its own.

mod board;
pub mod clock;
mod door;
mod frame;
mod guard;
mod handle;
mod health;
mod lock;
mod message;
mod pidfd;
mod process;
mod release;
mod secret;
mod soon;
mod take_over;
pub mod tree;

pub use board::{BoardDeadline, BoardError, LeaseBoard};
pub use door::Retire;
pub use guard::guard_main;
pub use handle::{GuardHandle, GuardOptions, SendError, SpawnError};
pub use health::Health;
pub use lock::{GuardLock, LockError, lock_path_beside, wait_for_lock};
pub use message::{
    EmptyCause, EmptyReport, Event, Order, PostmasterSignal, PostmasterStatus, Refusal,
    ReleaseOutcome, Start, StartRole, StuckProcess,
};
pub use release::{Peer, ReleaseNote, ReleaseRoute};
pub use secret::{Secret, SecretError};
pub use soon::run_soon;
pub use take_over::{RetireError, RetireOutcome, TakeOver, TakenOver, retire, take_over};
pub use tree::become_subreaper;
