//! The holder's stream to one grantor: renewals out, answers back, late ones too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgha_core::{Epoch, Mono, RaftId};
use pgha_guard::clock;
use pgha_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::HolderShared;
use crate::net;

/// Renewals that wait for one grantor's stream. More are dropped: a renewal that was not sent
/// promises nothing.
pub(super) const SENDS_MAX: usize = 8;
/// A stream that owes an answer for so long is opened anew.
const SILENT_MAX: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What a grantor answered.
pub(super) struct Given {
    pub(super) by: RaftId,
    pub(super) send: u64,
    pub(super) epoch: Epoch,
    pub(super) granted: bool,
    pub(super) adopted: Epoch,
}

/// Renewals without an answer: when they were sent, and for which epoch.
type Pending = BTreeMap<u64, (Mono, Epoch)>;

/// One grantor's stream, opened again for as long as somebody wants to send on it.
pub(super) struct GrantorStream {
    pub(super) by: RaftId,
    pub(super) address: String,
    pub(super) answers: mpsc::UnboundedSender<Given>,
    pub(super) shared: Arc<HolderShared>,
}

impl GrantorStream {
    pub(super) async fn run(self, mut sends: mpsc::Receiver<v1::RenewRequest>) {
        while let Some(first) = sends.recv().await {
            // A new connection each time: one that answered nothing may be dead without knowing it.
            let Some(channel) = net::channel(&self.address) else {
                return;
            };
            let mut pending = Pending::from([(first.send, (clock::now(), Epoch(first.epoch)))]);
            let mut client = v1::lease_client::LeaseClient::new(channel);
            let (forward, requests) = mpsc::channel(SENDS_MAX);
            let _ = forward.try_send(first);
            let opened = client.renew(ReceiverStream::new(requests)).await;
            if let Ok(replies) = opened {
                self.pump(replies.into_inner(), &forward, &mut sends, &mut pending)
                    .await;
            } else {
                tokio::time::sleep(RECONNECT_PAUSE).await;
                // What waited meanwhile is old by now.
                while sends.try_recv().is_ok() {}
            }
        }
    }

    async fn pump(
        &self,
        mut replies: tonic::Streaming<v1::RenewReply>,
        forward: &mpsc::Sender<v1::RenewRequest>,
        sends: &mut mpsc::Receiver<v1::RenewRequest>,
        pending: &mut Pending,
    ) {
        loop {
            tokio::select! {
                request = sends.recv() => {
                    let Some(request) = request else { return };
                    let now = clock::now();
                    let oldest = pending.values().map(|(sent, _)| *sent).min();
                    if oldest.is_some_and(|sent| now.since(sent) > SILENT_MAX) {
                        return;
                    }
                    pending.insert(request.send, (now, Epoch(request.epoch)));
                    while pending.len() > 4 * SENDS_MAX {
                        pending.pop_first();
                    }
                    if forward.try_send(request).is_err() && forward.is_closed() {
                        return;
                    }
                }
                reply = replies.message() => {
                    let Ok(Some(reply)) = reply else { return };
                    let (sent, epoch) = pending
                        .remove(&reply.send)
                        .unwrap_or((Mono::NEVER, Epoch(0)));
                    if sent != Mono::NEVER {
                        self.shared.times.record(clock::now().since(sent));
                    }
                    self.give(&reply, epoch);
                }
            }
        }
    }

    fn give(&self, reply: &v1::RenewReply, epoch: Epoch) {
        let _ = self.answers.send(Given {
            by: self.by,
            send: reply.send,
            epoch,
            granted: reply.granted,
            adopted: Epoch(reply.adopted_epoch),
        });
    }
}
