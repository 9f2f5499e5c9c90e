//! The one task that changes the membership.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::execute::{execute, flatten};
use super::{MembershipChange, Outcome};
use crate::core::Core;
use crate::propose::ProposeError;

const INBOX_MAX: usize = 8;
/// A joint configuration that a dead leader left behind is looked for as often.
const JOINT_CHECK: Duration = Duration::from_secs(1);
const FLATTEN_DEADLINE: Duration = Duration::from_secs(2);

pub(super) struct Order {
    pub(super) change: MembershipChange,
    pub(super) deadline: Duration,
    done: oneshot::Sender<Outcome>,
}

/// Where changes are ordered.
#[derive(Clone)]
pub(crate) struct Changes {
    orders: mpsc::Sender<Order>,
}

impl Changes {
    pub(crate) fn start(core: Arc<Core>) -> (Self, tokio::task::JoinHandle<()>) {
        let (orders, inbox) = mpsc::channel(INBOX_MAX);
        (Self { orders }, tokio::spawn(run(core, inbox)))
    }

    pub(crate) async fn order(&self, change: MembershipChange, deadline: Duration) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let order = Order {
            change,
            deadline,
            done,
        };
        let ended = || ProposeError::Fatal("its membership task ended".to_owned()).into();
        let placed = async {
            self.orders.send(order).await.ok()?;
            outcome.await.ok()
        };
        match timeout(deadline, placed).await {
            Ok(outcome) => outcome.unwrap_or_else(|| Err(ended())),
            Err(_) => Err(ProposeError::TimedOut(deadline).into()),
        }
    }
}

async fn run(core: Arc<Core>, mut inbox: mpsc::Receiver<Order>) {
    let mut roles = core.raft.server_metrics();
    loop {
        let joint = roles
            .borrow_and_update()
            .membership_config
            .membership()
            .get_joint_config()
            .len()
            > 1;
        tokio::select! {
            order = inbox.recv() => {
                let Some(order) = order else { return };
                let outcome = match timeout(order.deadline, execute(&core, &order)).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(ProposeError::TimedOut(order.deadline).into()),
                };
                // Whoever ordered it may have given up.
                let _ = order.done.send(outcome);
            }
            () = sleep(JOINT_CHECK), if joint => {
                let _ = timeout(FLATTEN_DEADLINE, flatten(&core)).await;
            }
            changed = roles.changed() => if changed.is_err() { return },
        }
    }
}
