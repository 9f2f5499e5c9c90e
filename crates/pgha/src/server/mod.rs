//! The local PostgreSQL as the agent handles it: one worker session, one set of managed settings,
//! one job at a time.

mod access;
mod data;
mod door;
mod jobs;
mod log;
mod marks;
mod prober;
mod settings;
mod site;
mod start;
mod statements;
mod worker;

use std::time::Duration;

pub(crate) use data::{Ended, Found};
pub(crate) use jobs::{JobContext, run_job};
pub(crate) use prober::{ProbeReport, Prober};
pub(crate) use site::Site;
pub(crate) use start::StartAs;
pub(crate) use worker::{Desk, Worker};

/// Statements of the worker that change something may take this long.
const STATEMENT_MAX: Duration = Duration::from_secs(10);
