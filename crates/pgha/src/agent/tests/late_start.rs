//! A start as primary that is overtaken by the end of its lease. The order to stop would come before
//! it, so the guard has to refuse it: it reads the board at that moment.

use pgha_core::decide::{LeaseView, StopMode};
use pgha_core::lease::{Hold, LeaseTiming};
use pgha_core::{Epoch, Mono};
use pgha_guard::{BoardDeadline, clock};

use super::rig::{EPOCH, Rig};

/// A deadline that does not pass by itself.
const LATER: Mono = Mono::NEVER;

/// A start as primary whose guard still has a deadline.
async fn starting() -> Rig {
    let mut rig = Rig::new().await;
    assert!(rig.guard.board().set_deadline(EPOCH, LATER));
    rig.starts_primary();
    rig
}

fn lease_of(epoch: Epoch) -> LeaseView {
    let timing = LeaseTiming::from_millis(1500).expect("the default");
    LeaseView {
        epoch,
        hold: Hold::Held(timing.deadlines(clock::now())),
        ..LeaseView::default()
    }
}

impl Rig {
    #[track_caller]
    fn expect_deadline(&self, kill_at: Mono) {
        let epoch = EPOCH;
        let expected = BoardDeadline { epoch, kill_at };
        assert_eq!(self.guard.board().deadline(), Some(expected));
    }
}

#[tokio::test]
async fn a_start_whose_lease_has_ended_finds_no_deadline() {
    let mut rig = starting().await;
    rig.stops(StopMode::Immediate);
    rig.expect_deadline(Mono::ZERO);
    // The order itself waits until there is something to stop.
    assert_eq!(rig.stopping(), None);
}

#[tokio::test]
async fn the_lease_of_another_epoch_allows_no_start() {
    let mut rig = starting().await;
    rig.agent.local.lease = lease_of(EPOCH.next());
    rig.stops(StopMode::Immediate);
    rig.expect_deadline(Mono::ZERO);
}

#[tokio::test]
async fn a_start_whose_lease_is_held_keeps_its_deadline() {
    let mut rig = starting().await;
    rig.agent.local.lease = lease_of(EPOCH);
    rig.stops(StopMode::Fast);
    rig.expect_deadline(LATER);
}

/// It may be reinstated until then.
#[tokio::test]
async fn a_tree_that_runs_keeps_its_deadline() {
    let mut rig = starting().await;
    rig.has_started();
    rig.stops(StopMode::Fast);
    rig.expect_deadline(LATER);
    assert_eq!(rig.stopping(), Some(StopMode::Fast));
}
