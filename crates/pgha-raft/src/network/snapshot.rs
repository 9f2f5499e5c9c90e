//! A Raft snapshot as a stream of chunks (Raft paper, figure 13).

use pgha_proto::{FieldError, missing, v1};
use tonic::{Status, Streaming};

use super::codec;
use crate::types::{Snapshot, Vote};

const CHUNK_BYTES: usize = 256 * 1024;
/// The replicated state is kilobytes; more than this is nobody's snapshot.
const STATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The chunks of a snapshot; the first one carries its head, even where there is no data.
pub(crate) fn chunks(
    identity: v1::Identity,
    vote: &Vote,
    snapshot: &Snapshot,
) -> Vec<v1::SnapshotChunk> {
    let state = &snapshot.snapshot;
    let head = codec::snapshot_head_out(&snapshot.meta, state);
    let mut chunks = vec![v1::SnapshotChunk {
        identity: Some(identity),
        vote: Some(codec::vote_out(vote)),
        head: Some(head),
        data: Vec::new(),
    }];
    chunks.extend(state.chunks(CHUNK_BYTES).map(|data| v1::SnapshotChunk {
        data: data.to_vec(),
        ..v1::SnapshotChunk::default()
    }));
    chunks
}

/// Reads what follows the first chunk. `heard` is called for each: a leader that sends is alive.
pub(crate) async fn collect(
    first: &v1::SnapshotChunk,
    stream: &mut Streaming<v1::SnapshotChunk>,
    heard: impl Fn(),
) -> Result<Snapshot, Status> {
    let invalid = |error: FieldError| Status::invalid_argument(error.to_string());
    let head = first
        .head
        .as_ref()
        .ok_or_else(|| invalid(missing("head")))?;
    let meta = codec::snapshot_meta_in(head).map_err(invalid)?;
    if head.size_bytes > STATE_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {} bytes, at most {STATE_BYTES_MAX} are taken",
            head.size_bytes
        )));
    }
    let mut state = first.data.clone();
    while let Some(chunk) = stream.message().await? {
        heard();
        state.extend(chunk.data);
        if state.len() as u64 > head.size_bytes {
            break;
        }
    }
    let (size, crc) = (state.len() as u64, crc32fast::hash(&state));
    if (size, crc) != (head.size_bytes, head.crc32) {
        return Err(Status::data_loss(format!(
            "the snapshot came as {size} bytes with checksum {crc:08x}, announced were {} with {:08x}",
            head.size_bytes, head.crc32
        )));
    }
    Ok(Snapshot {
        meta,
        snapshot: Box::new(state),
    })
}
