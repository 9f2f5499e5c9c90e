//! Messages on a byte stream: four bytes of length, big endian, then JSON.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No message comes near: whatever is longer is not one of ours.
const FRAME_BYTES_MAX: usize = 1 << 20;
const LENGTH_BYTES: usize = 4;

/// The bytes of a message, length first.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_BYTES_MAX)
        .ok_or_else(|| too_long(body.len()))?;
    let mut frame = Vec::with_capacity(LENGTH_BYTES + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Cuts messages out of bytes as they arrive.
#[derive(Default)]
pub(crate) struct FrameReader {
    bytes: Vec<u8>,
}

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if its bytes are there.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(head) = self.bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(too_long(length));
        }
        let end = LENGTH_BYTES + length;
        let Some(body) = self.bytes.get(LENGTH_BYTES..end) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..end);
        Ok(Some(message))
    }
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {length} bytes is refused, at most {FRAME_BYTES_MAX} are accepted"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut() {
        let mut bytes = encode(&"first").expect("fits");
        bytes.extend(encode(&"second").expect("fits"));
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::default();
            let mut seen: Vec<String> = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                while let Some(message) = reader.next().expect("well formed") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, ["first", "second"], "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_is_too_long_or_no_json() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert!(reader.next::<String>().is_err());
        let mut reader = FrameReader::default();
        reader.push(&[0, 0, 0, 1, b'{']);
        assert!(reader.next::<String>().is_err());
        assert!(encode(&"x".repeat(FRAME_BYTES_MAX)).is_err());
    }
}
