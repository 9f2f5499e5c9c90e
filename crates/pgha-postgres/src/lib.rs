//! Everything said to a local PostgreSQL: find it, initialise, configure, start line, probe,
//! promote, follow, clone, rewind. The postmaster itself is spawned by the guard.

pub mod config;
pub mod control;
mod data_directory;
mod files;
mod initdb;
mod installation;
pub mod job;
mod layout;
mod marker;
mod ownership;
mod removal;
mod rewound;
mod segment;
pub mod session;
mod signal_files;
mod swap;
pub mod timeline;
mod version;
mod wal_end;
mod wal_tail;

pub use control::ControlData;
pub use data_directory::{Cluster, DataDirectory, InspectError};
pub use files::{FileError, write_atomically};
pub use initdb::{InitdbError, InitdbOptions, initdb};
pub use installation::{Installation, InstallationError, PROGRAMS};
pub use job::{Job, JobError, Progress};
pub use layout::Layout;
pub use marker::{JobKind, LeftoverError, Marker, MarkerError, MarkerGuard};
pub use ownership::effective_user_name;
pub use removal::removed;
pub use rewound::{forget_rewound, note_rewound, rewound_to};
pub use segment::WAL_PAGE_BYTES;
pub use session::{Probe, Session, SessionError, SessionOptions};
pub use signal_files::{SignalFileError, prepare_primary, prepare_standby};
pub use swap::{Displace, SwapError};
pub use version::{ParseVersionError, Version};
pub use wal_end::{WalEndError, end_of_wal};
pub use wal_tail::{WalTail, WalTailError};
