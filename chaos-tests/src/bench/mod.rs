//! Measures the figures that the design promises (section 8), on the real programs.

mod connections;
mod demo;
mod failover;
mod figures;
mod formation;
mod idle;
mod machine;
mod report;
mod rows;
mod second_client;
mod throughput;

use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::options::ClusterOptions;

pub use demo::{FailoverDemo, show_failover};
pub use figures::{Figure, Unit};
pub use machine::Machine;
pub use report::Report;
pub use rows::RowName;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Repetitions of each fault.
    pub rounds: usize,
    /// Rows, in the order of the table.
    pub rows: Vec<RowName>,
    /// `lease_ms` of the clusters, where it is not the default.
    pub lease_ms: Option<u64>,
    /// Where the result is kept.
    pub results: PathBuf,
}

/// Measures every row of the plan, printing each when it is done; a row that fails is reported as
/// such and does not keep the others from being measured.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let mut report = Report::begin(plan.rounds, plan.lease_ms)?;
    for row in &plan.rows {
        eprintln!("measuring {row:?} ...");
        match rows::measure(*row, plan).await {
            Ok(figures) => figures.into_iter().for_each(|figure| report.add(figure)),
            Err(error) => report.fail(*row, &error),
        }
    }
    report.finish(&plan.results)?;
    Ok(report)
}

/// Three members at default settings but for the lease.
async fn three_members(plan: &Plan, namespaces: bool) -> anyhow::Result<Cluster> {
    let mut options = ClusterOptions::new(3);
    if let Some(lease_ms) = plan.lease_ms {
        options = options.initial("lease_ms", lease_ms);
    }
    if namespaces {
        options = options.in_namespaces();
    }
    Cluster::start_with(options).await
}
