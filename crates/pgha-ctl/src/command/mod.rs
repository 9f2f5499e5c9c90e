//! One file for each command.

pub(crate) mod change;
pub(crate) mod doctor;
pub(crate) mod dsn;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod quorum;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod watch;
