//! The holder's thread: sends renewals, counts answers, moves the deadlines of gate and guard.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pgha_core::lease::{Hold, Holder, LeaseTiming, ReleaseHash, Renewal, is_believable};
use pgha_core::{ClusterId, decide::LeaseView};
use pgha_core::{Epoch, Generation, Lsn, MemberName, Mono, Nonce, RaftId, StoreId};
use pgha_guard::clock;
use pgha_proto::{Parties, v1};
use pgha_proxy::Gate;
use pgha_raft::Peer;
use tokio::sync::{mpsc, watch};

use super::electorate::{Electorate, ElectorateWatch, MembershipId};
use super::stream::{Given, GrantorStream, SENDS_MAX};
use super::{Grants, HolderShared};
use crate::wake::Wake;

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(3600);

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
        let run = Run {
            adopted: self.grants.watch_adopted(),
            changes: self.electorate.clone(),
            thread: self,
            publish,
            lease: None,
            electorate: Electorate::default(),
            streams: BTreeMap::new(),
            answers: mpsc::unbounded_channel(),
        };
        std::thread::Builder::new()
            .name("lease-holder".to_owned())
            .spawn(move || runtime.block_on(run.run(inbox)))?;
        Ok(HolderHandle { orders, view })
    }
}

/// The lease that is being collected or held.
struct Lease {
    holder: Holder,
    release_hash: ReleaseHash,
    held_since: Option<Mono>,
}

struct Run {
    thread: HolderThread,
    adopted: watch::Receiver<Epoch>,
    changes: ElectorateWatch,
    publish: watch::Sender<LeaseView>,
    lease: Option<Lease>,
    electorate: Electorate,
    streams: BTreeMap<RaftId, (String, mpsc::Sender<v1::RenewRequest>)>,
    answers: (mpsc::UnboundedSender<Given>, mpsc::UnboundedReceiver<Given>),
}

impl Run {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
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
                let quorums = self.electorate.quorums.clone();
                let mut holder = Holder::new(epoch, self.thread.nonce, timing, quorums);
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
            lease.holder.set_quorums(electorate.quorums.clone());
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

    /// Sends one renewal to every grantor; says how long until the next. A lease must not keep a
    /// useless primary: nothing is sent while the agent stands still or PostgreSQL hangs.
    fn renew(&mut self, now: Mono) -> Option<Duration> {
        let shared = &self.thread.shared;
        let lease = self.lease.as_mut()?;
        let interval = lease.holder.timing().renew_interval();
        let stamp = Mono::from_nanos(shared.agent_stamp.load(Ordering::Acquire));
        if now.since(stamp) > self.thread.agent_stall || shared.hung.load(Ordering::Acquire) {
            return Some(interval);
        }
        let send = lease.holder.send(now)?;
        let renewal = Renewal {
            epoch: lease.holder.epoch(),
            nonce: lease.holder.nonce(),
            timing: lease.holder.timing(),
            release_hash: lease.release_hash,
            flush_lsn: Lsn(shared.flush_lsn.load(Ordering::Acquire)),
            membership: self.electorate.membership,
            adopted: *self.adopted.borrow(),
        };
        for by in lease.holder.grantors() {
            if by == self.thread.raft_id {
                self.ask_self(send, renewal.clone());
            } else if let Some((_, stream)) = self.streams.get(&by) {
                let _ = stream.try_send(self.request(by, send, &renewal));
            }
        }
        Some(interval)
    }

    fn ask_self(&self, send: u64, renewal: Renewal<MembershipId>) {
        let grants = Arc::clone(&self.thread.grants);
        let answers = self.answers.0.clone();
        let by = self.thread.raft_id;
        tokio::spawn(async move {
            let granted = matches!(grants.renew(&renewal).await, Ok(Ok(())));
            let adopted = grants.adopted();
            let _ = answers.send(Given {
                by,
                send,
                epoch: renewal.epoch,
                granted,
                adopted,
            });
        });
    }

    fn request(&self, to: RaftId, send: u64, renewal: &Renewal<MembershipId>) -> v1::RenewRequest {
        let (term, leader_raft_id, index) = renewal.membership;
        // Not the store of somebody who has taken over the address.
        let store = self.electorate.peers.get(&to).map(|peer| &peer.store_id);
        v1::RenewRequest {
            identity: Some(v1::Identity::from(&Parties {
                cluster_id: self.thread.cluster_id.clone(),
                generation: self.thread.generation,
                from: self.thread.raft_id,
                from_store: self.thread.store_id.clone(),
                to,
                to_store: store.filter(|id| !id.0.is_empty()).cloned(),
            })),
            epoch: renewal.epoch.0,
            nonce: renewal.nonce.0,
            send,
            lease_ms: u32::try_from(renewal.timing.lease_ms()).unwrap_or(u32::MAX),
            release_hash: renewal.release_hash.to_vec(),
            flush_lsn: renewal.flush_lsn.0,
            membership: Some(v1::LogId {
                term,
                leader_raft_id,
                index,
            }),
            adopted_epoch: renewal.adopted.0,
            holder: self.thread.name.0.clone(),
        }
    }

    /// Keeps one stream to each voter that this member may have to ask.
    fn connect(&mut self) {
        let wanted = &self.electorate.peers;
        self.streams.retain(|id, (address, _)| {
            let peer = wanted.get(id);
            peer.is_some_and(|peer| peer.address == *address)
        });
        for (id, Peer { address, .. }) in wanted {
            if *id == self.thread.raft_id || self.streams.contains_key(id) {
                continue;
            }
            let (sender, receiver) = mpsc::channel(SENDS_MAX);
            let stream = GrantorStream {
                by: *id,
                address: address.clone(),
                answers: self.answers.0.clone(),
                shared: Arc::clone(&self.thread.shared),
            };
            tokio::spawn(stream.run(receiver));
            self.streams.insert(*id, (address.clone(), sender));
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
