//! The order itself.

use std::sync::Arc;
use std::time::Duration;

use pgha_proto::v1;
use tonic::Status;

use super::facts::{answers, seen, told};
use super::obstacle::obstacle;
use crate::agent::wall_clock;
use crate::restart;
use crate::services::Joined;

/// For the answer to be on its way before the process is another one.
const LAST_WORD: Duration = Duration::from_millis(300);
/// For the whole recovery; the next process finds the old store or the new one, as after a kill.
const RECOVER_MAX: Duration = Duration::from_secs(10);

/// Checks the order against what is here now, carries it out, and has the process start anew.
pub(in crate::services::admin) async fn recover(
    joined: &Joined,
    request: v1::RecoverQuorumRequest,
) -> Result<v1::RecoverQuorumReply, Status> {
    let (view, role) = seen(joined);
    let (state, me) = (&view.state, joined.peers.me());
    let refused = |text: String| Err(Status::failed_precondition(text));
    if request.cluster_id != state.cluster_id.0 {
        return refused(format!(
            "this is cluster {}, the order is for {}",
            state.cluster_id, request.cluster_id
        ));
    }
    if request.survivor != me.0 {
        return refused(format!(
            "this is {me}, the order is for {}: ask the member itself that is to go on",
            request.survivor
        ));
    }
    if request.generation != state.generation.0 {
        return refused(format!(
            "this is generation {}, what was confirmed was generation {}: look again",
            state.generation, request.generation
        ));
    }
    let answers = answers(joined, &view).await;
    if let Some(obstacle) = obstacle(joined, &view, &role, &answers) {
        return refused(obstacle);
    }
    tracing::warn!(
        cluster_id = %state.cluster_id,
        "an operator confirmed that the other members are lost for ever: {me} goes on alone"
    );
    let raft = Arc::clone(&joined.raft);
    // The next process has not heard it.
    let told = told(joined, &view);
    // On its own: whoever asked may go away, and half of it is nothing.
    let work = tokio::spawn(async move {
        // Raft has ended here by then: a disk that stands still must not leave it at that.
        let outcome = tokio::time::timeout(RECOVER_MAX, raft.recover(wall_clock(), told))
            .await
            .unwrap_or(Err(pgha_raft::RecoverError::TimedOut(RECOVER_MAX)));
        if !outcome
            .as_ref()
            .is_err_and(pgha_raft::RecoverError::is_refusal)
        {
            tokio::spawn(async {
                tokio::time::sleep(LAST_WORD).await;
                restart::again();
            });
        }
        outcome
    });
    let outcome = work.await;
    let outcome = outcome.map_err(|error| Status::internal(error.to_string()))?;
    match outcome {
        Ok(recovered) => {
            let (generation, epoch) = (recovered.generation, recovered.epoch);
            tracing::warn!(%generation, %epoch, "the recovery is on disk");
            Ok(v1::RecoverQuorumReply {
                generation: generation.0,
                epoch: epoch.0,
            })
        }
        Err(error) if error.is_refusal() => refused(error.to_string()),
        Err(error) => {
            tracing::error!(%error, "the quorum was not recovered");
            Err(Status::unknown(error.to_string()))
        }
    }
}
