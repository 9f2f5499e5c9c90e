//! The ports for applications: read-write and read-only TCP, the gate, the hold queue.
//!
//! Every read-write byte passes the [`Gate`] of the primary's own sidecar, which reads the clock
//! immediately before each write in either direction (promise P1). Other members forward to that
//! sidecar's port, never to its PostgreSQL, and introduce themselves with a [`Preamble`].
//!
//! The crate decides nothing: it is told by [`Routes`], the [`Gate`] and [`ReadOnlyAdmission`].

mod accept;
mod admission;
mod clock;
mod entry;
mod gate;
mod limits;
mod ports;
mod preamble;
mod protocol;
mod relay;
mod resolve;
mod routes;
mod runtime;
mod shared;
mod socket;
mod stats;
mod supervisor;

pub use admission::{AdmissionRefused, ReadOnlyAdmission};
pub use clock::{BootClock, Clock};
pub use gate::{Gate, GateRefused};
pub use limits::{Limits, raise_file_limit};
pub use ports::{BindError, Ports, PortsConfig, RunError, Wiring};
pub use preamble::{ClusterTag, ForwardKind, Preamble};
pub use protocol::{FirstPacket, ProtocolError, error_response, parse_first_packet};
pub use routes::{ReadOnlyAddress, ReadOnlyTarget, Route, Routes};
pub use stats::Stats;
