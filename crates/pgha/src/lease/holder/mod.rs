//! The holder's thread: sends renewals, counts answers, moves the deadlines of gate and guard.

mod run;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use pgha_core::decide::LeaseView;
use pgha_core::lease::{LeaseTiming, ReleaseHash};
use pgha_core::{ClusterId, Epoch, Generation, MemberName, Nonce, RaftId, StoreId};
use pgha_proxy::Gate;
use tokio::sync::{mpsc, watch};

use self::run::Run;
use super::electorate::ElectorateWatch;
use super::{Grants, HolderShared};
use crate::wake::Wake;

/// What the agent tells the holder's thread.
#[derive(Debug)]
enum Order {
    Hold {
        epoch: Epoch,
        timing: LeaseTiming,
        release_hash: ReleaseHash,
    },
    Drop,
    Timing(LeaseTiming),
}

/// The agent's end.
#[derive(Clone)]
pub(crate) struct HolderHandle {
    orders: mpsc::UnboundedSender<Order>,
    view: watch::Receiver<LeaseView>,
}

impl HolderHandle {
    /// Collects and renews the lease of this epoch from now on, and nothing else's.
    pub(crate) fn hold(&self, epoch: Epoch, timing: LeaseTiming, release_hash: ReleaseHash) {
        self.order(Order::Hold {
            epoch,
            timing,
            release_hash,
        });
    }

    /// Renews nothing any more.
    pub(crate) fn drop_lease(&self) {
        self.order(Order::Drop);
    }

    /// The lease time of epochs to come.
    pub(crate) fn set_timing(&self, timing: LeaseTiming) {
        self.order(Order::Timing(timing));
    }

    /// The lease at this moment.
    pub(crate) fn view(&self) -> LeaseView {
        *self.view.borrow()
    }

    fn order(&self, order: Order) {
        // The thread ends with the process only.
        let _ = self.orders.send(order);
    }
}

/// Everything that the thread needs.
pub(crate) struct HolderThread {
    pub(crate) name: MemberName,
    pub(crate) nonce: Nonce,
    pub(crate) raft_id: RaftId,
    pub(crate) store_id: StoreId,
    pub(crate) cluster_id: ClusterId,
    pub(crate) generation: Generation,
    pub(crate) agent_stall: Duration,
    pub(crate) electorate: ElectorateWatch,
    pub(crate) grants: Arc<Grants>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) shared: Arc<HolderShared>,
    pub(crate) wake: Wake,
}

impl HolderThread {
    /// Starts the thread.
    pub(crate) fn start(self) -> std::io::Result<HolderHandle> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (publish, view) = watch::channel(LeaseView::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = Run::new(self, publish);
        std::thread::Builder::new()
            .name("lease-holder".to_owned())
            .spawn(move || {
                // Where the kernel refuses, it is as before.
                let _ = pgha_guard::run_soon();
                runtime.block_on(run.run(inbox));
            })?;
        Ok(HolderHandle { orders, view })
    }
}
