//! A second request to end.

use pgha_core::decide::StopMode;

use super::rig::Rig;
use crate::agent::Event;

#[tokio::test]
async fn a_hurry_kills_what_was_being_stopped_gently() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.has_started();
    rig.stops(StopMode::Fast);
    assert_eq!(rig.stopping(), Some(StopMode::Fast));
    rig.agent.take(Event::Hurry);
    assert_eq!(rig.stopping(), Some(StopMode::Kill));
}

/// While the start is under way there is nothing to kill yet, and nobody asks a third time.
#[tokio::test]
async fn a_hurry_during_a_start_is_remembered_until_there_is_something_to_kill() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.agent.take(Event::Hurry);
    assert_eq!(rig.stopping(), None);
    rig.has_started();
    assert_eq!(rig.stopping(), Some(StopMode::Kill));
}

#[tokio::test]
async fn what_has_started_without_a_hurry_is_left_to_the_next_decision() {
    let mut rig = Rig::new().await;
    rig.starts_primary();
    rig.stops(StopMode::Immediate);
    rig.has_started();
    assert_eq!(rig.stopping(), None);
}
