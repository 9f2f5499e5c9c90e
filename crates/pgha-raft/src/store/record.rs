//! One record of the store: a format version and a checksum over key and content, so that neither a
//! flipped bit nor a record found under another's key is ever taken for what was written.

use serde::Serialize;
use serde::de::DeserializeOwned;

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 5;

/// Far more than any command takes; a larger one is refused where it is proposed.
pub(crate) const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Why a record cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Shorter than its own head.
    #[error("record `{key}` has only {length} bytes")]
    Short {
        /// The key it was found under.
        key: String,
        /// What there is of it.
        length: usize,
    },
    /// Written by a newer program, or damaged.
    #[error("record `{key}` has format {found}, this program knows format {FORMAT}")]
    Format {
        /// The key it was found under.
        key: String,
        /// The format that it claims.
        found: u8,
    },
    /// Not what was written.
    #[error("record `{key}` has checksum {found:08x} where its content gives {computed:08x}")]
    Checksum {
        /// The key it was found under.
        key: String,
        /// As stored.
        found: u32,
        /// As computed.
        computed: u32,
    },
    /// The checksum is right and the content is not understood.
    #[error("record `{key}` is not understood: {reason}")]
    Content {
        /// The key it was found under.
        key: String,
        /// The decoder's words.
        reason: String,
    },
    /// More than the store may hold in one record.
    #[error("record `{key}` would take {length} bytes, at most {RECORD_BYTES_MAX} are possible")]
    Large {
        /// The key it was meant for.
        key: String,
        /// Its size.
        length: usize,
    },
}

/// The bytes to store `content` under `key`.
pub(crate) fn encode<T: Serialize>(key: &[u8], content: &T) -> Result<Vec<u8>, RecordError> {
    let body = serde_json::to_vec(content).map_err(|error| RecordError::Content {
        key: name(key),
        reason: error.to_string(),
    })?;
    if body.len() + HEAD_BYTES > RECORD_BYTES_MAX {
        return Err(RecordError::Large {
            key: name(key),
            length: body.len(),
        });
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.push(FORMAT);
    bytes.extend(checksum(key, &body).to_le_bytes());
    bytes.extend(body);
    Ok(bytes)
}

/// What was stored under `key`.
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, RecordError> {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(RecordError::Short {
            key: name(key),
            length: bytes.len(),
        });
    };
    let [format, crc @ ..] = *head;
    let (found, computed) = (u32::from_le_bytes(crc), checksum(key, body));
    if format != FORMAT {
        return Err(RecordError::Format {
            key: name(key),
            found: format,
        });
    }
    if found != computed {
        return Err(RecordError::Checksum {
            key: name(key),
            found,
            computed,
        });
    }
    serde_json::from_slice(body).map_err(|error| RecordError::Content {
        key: name(key),
        reason: error.to_string(),
    })
}

/// A key as people read it: `head`, `e42`.
pub(crate) fn name(key: &[u8]) -> String {
    match key {
        [b'e', index @ ..] => <[u8; 8]>::try_from(index).map_or_else(
            |_| format!("{key:02x?}"),
            |index| format!("e{}", u64::from_be_bytes(index)),
        ),
        _ => String::from_utf8_lossy(key).into_owned(),
    }
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[FORMAT]);
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
pub(super) mod tests;
