//! What happens to a cluster, drawn from a seed: when, what, to whom, how long.
//!
//! The schedule is repeatable, its outcome need not be: "the primary" is whoever it is at that moment.

mod blow;
mod consequence;
mod hands;
mod kind;
mod place;
mod schedule;

pub use blow::Blow;
pub use hands::NoEffect;
pub use kind::Kind;
pub use place::{Lay, Place};
pub use schedule::{Dose, Entry, Schedule};

use crate::cluster::Cluster;

/// Makes ready what the schedule needs, on a healthy cluster and before anybody looks; who is primary
/// is primary again in the end. For whom it was made ready.
pub async fn prepare(cluster: &mut Cluster, schedule: &Schedule) -> anyhow::Result<Lay> {
    let lay = Lay::of(cluster).await?;
    for entry in &schedule.entries {
        hands::prepare(cluster, *entry, &lay.names_at(entry.place)).await?;
    }
    hands::switch_to(cluster, &lay.primary).await?;
    Ok(lay)
}
