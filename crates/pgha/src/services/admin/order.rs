//! An operator's order on its way to the raft leader, wherever that moves meanwhile.

use pgha_proto::v1;
use pgha_proto::v1::outcome::Kind;
use tokio::sync::mpsc;
use tonic::{Response, Status, Streaming};

use super::change::NotDone;
use super::progress::{Events, Sender, events, outcome};
use super::{AdminService, OtherLeader};

/// The lead is handed over once after a change of primary; where it goes on moving, somebody else has
/// to look first.
const LEADERS_MAX: usize = 3;
const PROGRESS_MAX: usize = 32;

/// A change of primary that somebody wants.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Failover(v1::FailoverRequest),
    Switchover(v1::SwitchoverRequest),
}

impl Order {
    async fn submit(self, leader: OtherLeader) -> Result<Streaming<v1::Progress>, Status> {
        let OtherLeader {
            mut client,
            identity,
        } = leader;
        let passed_on_by = Some(identity);
        let answer = match self {
            Self::Failover(request) => {
                let request = v1::FailoverRequest {
                    passed_on_by,
                    ..request
                };
                client.failover(request).await
            }
            Self::Switchover(request) => {
                let request = v1::SwitchoverRequest {
                    passed_on_by,
                    ..request
                };
                client.switchover(request).await
            }
        };
        answer.map(Response::into_inner)
    }
}

impl AdminService {
    pub(super) async fn order(&self, order: Order) -> Result<Response<Events>, Status> {
        if let Some(leader) = self.leader().await? {
            let stream = order.submit(leader).await?;
            return Ok(Response::new(Box::pin(stream)));
        }
        let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
        let service = self.clone();
        tokio::spawn(async move { service.carry_out(order, &sender).await });
        Ok(events(receiver))
    }

    async fn carry_out(&self, order: Order, sender: &Sender) {
        let mut moved = String::new();
        for _ in 0..LEADERS_MAX {
            let done = match order.clone() {
                Order::Failover(request) => self.fail_over(request, sender).await,
                Order::Switchover(request) => self.switch(request, sender).await,
            };
            match done {
                Ok(()) => return,
                Err(NotDone::Moved(text)) => moved = text,
                Err(NotDone::Refused(text)) => {
                    return outcome(sender, Kind::Refused, text, None).await;
                }
                Err(NotDone::Unknown(text)) => {
                    return outcome(sender, Kind::TimedOut, text, None).await;
                }
            }
            match self.leader().await {
                // It moved back here.
                Ok(None) => {}
                Ok(Some(leader)) => return pass_on(order, leader, sender).await,
                Err(status) => moved = status.message().to_owned(),
            }
        }
        outcome(sender, Kind::Refused, moved, None).await;
    }
}

async fn pass_on(order: Order, leader: OtherLeader, sender: &Sender) {
    let mut stream = match order.submit(leader).await {
        Ok(stream) => stream,
        Err(status) => {
            let _ = sender.send(Err(status)).await;
            return;
        }
    };
    loop {
        let message = match stream.message().await {
            Ok(Some(progress)) => Ok(progress),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let last = message.is_err();
        if sender.send(message).await.is_err() || last {
            return;
        }
    }
}
