//! Tells everybody that nothing is left of an epoch's tree: from the sidecar, or as `pgha release`
//! run by a guard whose sidecar is gone.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use pgha_core::journal::Step;
use pgha_core::report::ReleaseNote;
use pgha_core::{ClusterId, ClusterState, Epoch, Generation, Lsn, MemberName};
use pgha_guard::Secret;
use pgha_proto::v1;
use tonic::Status;

use crate::net;

const SEND_MAX: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A release on its way.
#[derive(Clone)]
pub(crate) struct Releasing {
    pub(crate) cluster_id: ClusterId,
    pub(crate) generation: Generation,
    pub(crate) epoch: Epoch,
    pub(crate) secret: Secret,
    pub(crate) holder: MemberName,
    pub(crate) why: String,
    pub(crate) seen_to_fenced_us: u64,
    pub(crate) seen_to_empty_us: u64,
    /// Of a stop in peace.
    pub(crate) shutdown_lsn: Option<Lsn>,
}

impl Releasing {
    /// What grantors keep of it.
    pub(crate) fn note(&self) -> ReleaseNote {
        note(
            &self.why,
            self.seen_to_fenced_us,
            self.seen_to_empty_us,
            self.shutdown_lsn,
        )
    }

    fn request(&self) -> v1::ReleaseRequest {
        v1::ReleaseRequest {
            cluster_id: self.cluster_id.0.clone(),
            epoch: self.epoch.0,
            secret: self.secret.bytes().to_vec(),
            holder: self.holder.0.clone(),
            seen_to_fenced_us: self.seen_to_fenced_us,
            seen_to_empty_us: self.seen_to_empty_us,
            cause: self.why.clone(),
            shutdown_lsn: self.shutdown_lsn.map_or(0, |lsn| lsn.0),
            relayed: false,
            generation: self.generation.0,
        }
    }
}

/// The note with its steps in milliseconds.
pub(crate) fn note(
    why: &str,
    seen_to_fenced_us: u64,
    seen_to_empty_us: u64,
    shutdown_lsn: Option<Lsn>,
) -> ReleaseNote {
    let step = |name: &str, us: u64| Step {
        name: name.to_owned(),
        ms: us.div_ceil(1000),
    };
    ReleaseNote {
        why: why.to_owned(),
        shutdown_lsn,
        steps: vec![
            step("seen", 0),
            step("fenced", seen_to_fenced_us),
            step("released", seen_to_empty_us),
        ],
    }
}

/// Whether a release is of the cluster that this member belongs to. The guard that sends it has no
/// place in the Raft group: it says what its primary was of.
pub(crate) fn check(state: &ClusterState, request: &v1::ReleaseRequest) -> Result<(), Status> {
    let (cluster, generation) = (&state.cluster_id, state.generation);
    let now = request.generation == 0 || request.generation == generation.0;
    if request.cluster_id == cluster.0 && now {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the release is of cluster {}, generation {}; this member belongs to cluster {cluster}, \
         generation {generation}",
        request.cluster_id, request.generation
    )))
}

/// Sends the release to all these addresses at once. True where anybody took it.
pub(crate) async fn send(releasing: Releasing, addresses: Vec<String>) -> bool {
    let sends = addresses.into_iter().map(|address| {
        let request = releasing.request();
        async move { send_to(&address, request).await }
    });
    futures_util::future::join_all(sends)
        .await
        .into_iter()
        .any(|taken| taken)
}

async fn send_to(address: &str, request: v1::ReleaseRequest) -> bool {
    for _ in 0..TRIES {
        match tokio::time::timeout(SEND_MAX, send_once(address, request.clone())).await {
            Ok(Ok(reply)) if reply.accepted => return true,
            Ok(Ok(reply)) => {
                tracing::info!(address, reason = reply.reason, "a release was not taken");
                return false;
            }
            Ok(Err(error)) => tracing::debug!(address, %error, "a release did not arrive"),
            Err(_) => tracing::debug!(address, "a release was not answered"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    false
}

/// One try.
pub(crate) async fn send_once(
    address: &str,
    request: v1::ReleaseRequest,
) -> anyhow::Result<v1::ReleaseReply> {
    let channel = net::channel(address).ok_or_else(|| anyhow::anyhow!("{address}: no address"))?;
    let mut client = v1::member_client::MemberClient::new(channel);
    Ok(client.release(request).await?.into_inner())
}

/// `pgha release`: the note comes on standard input, where no other user can read it.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("pgha release: no member took the release; the lease ends by time");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("pgha release: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<bool> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(1 << 20)
        .read_to_string(&mut text)?;
    let note: pgha_guard::ReleaseNote = serde_json::from_str(&text)?;
    let releasing = Releasing {
        cluster_id: note.cluster_id,
        generation: note.generation,
        epoch: note.epoch,
        secret: note.secret,
        holder: note.holder,
        why: note.cause.to_string(),
        seen_to_fenced_us: note.seen_to_fenced_us,
        seen_to_empty_us: note.seen_to_empty_us,
        shutdown_lsn: None,
    };
    let addresses = note.peers.into_iter().map(|peer| peer.address).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(send(releasing, addresses)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_of_one_cluster_and_generation() {
        let state = ClusterState {
            cluster_id: "c".into(),
            generation: Generation(2),
            ..ClusterState::default()
        };
        let releasing = Releasing {
            cluster_id: "c".into(),
            generation: Generation(2),
            epoch: Epoch(3),
            secret: Secret::new([1; 32]),
            holder: "n1".into(),
            why: String::new(),
            seen_to_fenced_us: 0,
            seen_to_empty_us: 0,
            shutdown_lsn: None,
        };
        let good = releasing.request();
        assert!(check(&state, &good).is_ok());
        let of = |cluster: &str, generation| v1::ReleaseRequest {
            cluster_id: cluster.to_owned(),
            generation,
            ..good.clone()
        };
        assert!(
            check(&state, &of("c", 0)).is_ok(),
            "of a guard that says none"
        );
        assert!(check(&state, &of("c", 1)).is_err());
        assert!(check(&state, &of("c", 3)).is_err());
        assert!(check(&state, &of("d", 2)).is_err());
    }
}
