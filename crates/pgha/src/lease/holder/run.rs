//! The thread's loop: one lease at a time, counted and published.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgha_core::lease::{Hold, Holder, ReleaseHash, is_believable};
use pgha_core::{Epoch, Mono, RaftId, decide::LeaseView};
use pgha_guard::clock;
use pgha_proto::v1;
use tokio::sync::{mpsc, watch};

use super::{HolderThread, Order};
use crate::lease::electorate::{Electorate, ElectorateWatch, MembershipId};
use crate::lease::stream::Given;

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(3600);

/// The lease that is being collected or held.
pub(super) struct Lease {
    pub(super) holder: Holder<MembershipId>,
    pub(super) release_hash: ReleaseHash,
    held_since: Option<Mono>,
}

/// What the thread works with.
pub(super) struct Run {
    pub(super) thread: HolderThread,
    pub(super) adopted: watch::Receiver<Epoch>,
    pub(super) changes: ElectorateWatch,
    publish: watch::Sender<LeaseView>,
    pub(super) lease: Option<Lease>,
    pub(super) electorate: Electorate,
    /// To each voter: its address, and the stream that goes there.
    pub(super) streams: BTreeMap<RaftId, (String, mpsc::Sender<v1::RenewRequest>)>,
    pub(super) answers: (mpsc::UnboundedSender<Given>, mpsc::UnboundedReceiver<Given>),
}

impl Run {
    pub(super) fn new(thread: HolderThread, publish: watch::Sender<LeaseView>) -> Self {
        Self {
            adopted: thread.grants.watch_adopted(),
            changes: thread.electorate.clone(),
            thread,
            publish,
            lease: None,
            electorate: Electorate::default(),
            streams: BTreeMap::new(),
            answers: mpsc::unbounded_channel(),
        }
    }

    /// Runs until the agent is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut next_send = clock::now();
        loop {
            let due = self.due(next_send);
            tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    Some(order) => {
                        let begins = matches!(order, Order::Hold { .. });
                        self.obey(order);
                        if begins {
                            next_send = clock::now();
                        }
                    }
                    None => return,
                },
                Some(given) = self.answers.1.recv() => self.take(&given),
                changed = self.adopted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let adopted = *self.adopted.borrow_and_update();
                    if let Some(lease) = &mut self.lease {
                        lease.holder.heard_epoch(adopted);
                    }
                }
                () = self.changes.changed() => {}
                () = tokio::time::sleep(due) => {}
            }
            if self.follow_membership() {
                next_send = clock::now();
            }
            let now = clock::now();
            if now >= next_send {
                // A lease that is over has nothing to send until the next order.
                next_send = now + self.renew(now).unwrap_or(NEVER);
            }
            self.publish();
        }
    }

    /// Until the next send or deadline.
    fn due(&self, next_send: Mono) -> Duration {
        let Some(lease) = &self.lease else {
            return NEVER;
        };
        let now = clock::now();
        let deadlines = lease.holder.deadlines();
        let next = [
            deadlines.map(|d| d.hold),
            deadlines.map(|d| d.close),
            Some(next_send),
        ];
        let soonest = next.into_iter().flatten().filter(|at| *at > now).min();
        if next_send <= now {
            return Duration::ZERO;
        }
        soonest.map_or(NEVER, |at| at.since(now))
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hold {
                epoch,
                timing,
                release_hash,
            } => {
                if self
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.holder.epoch() >= epoch)
                {
                    return;
                }
                let Electorate {
                    quorums,
                    membership,
                    ..
                } = self.electorate.clone();
                let nonce = self.thread.nonce;
                let mut holder = Holder::new(epoch, nonce, timing, membership, quorums);
                holder.heard_epoch(*self.adopted.borrow());
                self.lease = Some(Lease {
                    holder,
                    release_hash,
                    held_since: None,
                });
            }
            Order::Drop => {
                if let Some(lease) = &mut self.lease {
                    lease.holder.abandon();
                }
            }
            Order::Timing(timing) => {
                let board = self
                    .thread
                    .shared
                    .board
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if let Some(board) = board.as_ref() {
                    board.set_lease(timing.lease());
                }
            }
        }
    }

    /// Looked at before each send and each count, whatever woke the loop.
    fn follow_membership(&mut self) -> bool {
        let electorate = self.changes.electorate();
        if electorate == self.electorate {
            return false;
        }
        if let Some(lease) = &mut self.lease {
            let quorums = electorate.quorums.clone();
            lease.holder.set_membership(electorate.membership, quorums);
        }
        self.electorate = electorate;
        self.connect();
        true
    }

    fn take(&mut self, given: &Given) {
        let Some(lease) = &mut self.lease else { return };
        // Nor does this end on the word of somebody who speaks of what cannot be.
        if is_believable(given.adopted, *self.adopted.borrow()) {
            lease.holder.heard_epoch(given.adopted);
        }
        if given.granted && given.epoch == lease.holder.epoch() {
            lease.holder.granted(given.by, given.send, clock::now());
        }
    }

    fn publish(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let now = clock::now();
        let hold = lease.holder.hold(now);
        let epoch = lease.holder.epoch();
        if let Hold::Held(deadlines) = hold {
            lease.held_since.get_or_insert(now);
            self.thread.shared.set_board_deadline(epoch, deadlines.kill);
            if self.thread.shared.open_epoch.load(Ordering::Acquire) == epoch.0 {
                // Refused once it has closed for this epoch; the agent sees that by the lease.
                let _ = self
                    .thread
                    .gate
                    .extend(epoch, deadlines.hold, deadlines.close);
            }
        } else if hold == Hold::Over && self.thread.gate.epoch() <= epoch {
            self.thread.gate.close();
        }
        let view = LeaseView {
            epoch,
            hold,
            deadlines: lease.holder.deadlines(),
            held_since: lease.held_since,
        };
        let told = self.publish.send_if_modified(|current| {
            let news = current.epoch != epoch || kind(current.hold) != kind(hold);
            *current = view;
            news
        });
        if told {
            self.thread.wake.wake();
        }
    }
}

/// Mere extensions wake nobody.
fn kind(hold: Hold) -> u8 {
    match hold {
        Hold::Collecting => 0,
        Hold::Held(_) => 1,
        Hold::Over => 2,
    }
}
