//! Empty directories to three healthy members.

use std::time::Instant;

use crate::bench::{Figure, Plan, Unit, three_members};

/// More tell nothing new.
const ROUNDS_MAX: usize = 10;

pub(super) async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut seconds = Vec::new();
    for _ in 0..plan.rounds.min(ROUNDS_MAX) {
        let started = Instant::now();
        let cluster = three_members(plan, false).await?;
        seconds.push(started.elapsed().as_secs_f64());
        cluster.finish();
    }
    let title = "empty directories to three healthy members";
    Ok(vec![
        Figure::new(title, Unit::Seconds, seconds).below(Some(6.0), None),
    ])
}
