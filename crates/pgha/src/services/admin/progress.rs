//! What a command that takes its time says meanwhile, and at its end.

use std::pin::Pin;

use futures_util::Stream;
use pgha_proto::v1;
use pgha_proto::v1::outcome::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

pub(super) type Events = Pin<Box<dyn Stream<Item = Result<v1::Progress, Status>> + Send>>;
pub(super) type Sender = mpsc::Sender<Result<v1::Progress, Status>>;

pub(super) fn events(receiver: mpsc::Receiver<Result<v1::Progress, Status>>) -> Response<Events> {
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

pub(super) async fn outcome(
    sender: &Sender,
    kind: Kind,
    text: String,
    entry: Option<v1::HistoryEntry>,
) {
    let outcome = v1::Outcome {
        kind: kind.into(),
        text,
        entry,
    };
    let last = v1::Progress {
        text: String::new(),
        outcome: Some(outcome),
    };
    let _ = sender.send(Ok(last)).await;
}

pub(super) async fn progress(sender: &Sender, text: String) {
    let _ = sender
        .send(Ok(v1::Progress {
            text,
            outcome: None,
        }))
        .await;
}
