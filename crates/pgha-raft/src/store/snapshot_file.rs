//! Raft snapshots as plain files: sled keeps values of this size in files that it never fsyncs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::types::SnapshotMeta;

use super::durable::sync_dir;

const MAGIC: &str = "pgha-snapshot 1";
const NAME: &str = "snapshot";
const UNFINISHED: &str = "snapshot.new";

/// A snapshot as it lies on disk: what it covers, and the serialised state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotFile {
    pub meta: SnapshotMeta,
    pub state: Vec<u8>,
}

/// Why there is no snapshot although there is a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("the snapshot cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("the snapshot's first line is not `{MAGIC} <checksum> <length>`")]
    Head,
    #[error("the snapshot has {found} bytes where {expected} were written")]
    Length { expected: usize, found: usize },
    #[error("the snapshot has checksum {found:08x} where its content gives {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("the snapshot's description is not understood: {0}")]
    Meta(#[source] serde_json::Error),
}

/// Replaces the snapshot in `dir`; durable when it returns.
pub(crate) fn write(dir: &Path, snapshot: &SnapshotFile) -> io::Result<()> {
    let mut body = serde_json::to_vec(&snapshot.meta)?;
    body.push(b'\n');
    body.extend(&snapshot.state);
    let head = format!("{MAGIC} {:08x} {}\n", crc32fast::hash(&body), body.len());

    let unfinished = dir.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(head.as_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(NAME))?;
    sync_dir(dir)
}

/// The snapshot in `dir`, if there is one.
pub(crate) fn read(dir: &Path) -> Result<Option<SnapshotFile>, SnapshotError> {
    let bytes = match fs::read(dir.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SnapshotError::Read(error)),
    };
    let (head, body) = split_line(&bytes).ok_or(SnapshotError::Head)?;
    let (found, expected) = parse_head(head).ok_or(SnapshotError::Head)?;
    if body.len() != expected {
        return Err(SnapshotError::Length {
            expected,
            found: body.len(),
        });
    }
    let computed = crc32fast::hash(body);
    if found != computed {
        return Err(SnapshotError::Checksum { found, computed });
    }
    let (meta, state) = split_line(body).ok_or(SnapshotError::Head)?;
    Ok(Some(SnapshotFile {
        meta: serde_json::from_slice(meta).map_err(SnapshotError::Meta)?,
        state: state.to_vec(),
    }))
}

/// What a crash left of a snapshot that was being written: it never counted.
pub(crate) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn parse_head(line: &[u8]) -> Option<(u32, usize)> {
    let rest = std::str::from_utf8(line).ok()?.strip_prefix(MAGIC)?;
    let (checksum, length) = rest.strip_prefix(' ')?.split_once(' ')?;
    Some((
        u32::from_str_radix(checksum, 16).ok()?,
        length.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests;
