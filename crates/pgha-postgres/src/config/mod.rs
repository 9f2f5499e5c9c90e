//! Configuration of a local PostgreSQL: what pgha owns, what users may set, and how both reach it.
//!
//! Three places, by strength: the command line that the guard runs (cannot be overridden),
//! `pgha.conf` inside the data directory (included last, reloadable), and files outside the data
//! directory for client authentication.

mod auto_conf;
mod check;
mod command_line;
mod conninfo;
mod hba;
mod hba_lint;
mod install;
mod managed;
mod parameters;
mod quote;

pub use check::{CheckError, check_parameters};
pub use command_line::{
    PostgresCommand, StartError, StartOptions, StartRole, postgres_command, refuse_unfinished,
};
pub use conninfo::{Conninfo, Passfile, PassfileError};
pub use hba::{AuthenticationError, HbaAddress, HbaAddressError, HbaOptions, write_authentication};
pub use hba_lint::{HbaError, lint_hba};
pub use install::install;
pub use managed::{INCLUDE_FILE, ManagedError, ManagedSettings, RecoveryTimeline, Upstream};
pub use parameters::{ParameterError, ParameterRefusal, ParameterTrust, UserParameters};
pub use quote::{QuoteError, quote_identifier, quote_literal, quote_setting};
