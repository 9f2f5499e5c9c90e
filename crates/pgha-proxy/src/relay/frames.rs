//! Finds the messages in a stream of PostgreSQL's protocol without keeping them (manual, 55.1.1).

/// Type byte and length.
const HEADER_BYTES: usize = 5;
/// The length counts itself.
const LENGTH_BYTES: u32 = 4;
/// ReadyForQuery, the one message whose content matters: a byte with the transaction's state.
pub(super) const READY_FOR_QUERY: u8 = b'Z';

/// Follows message borders through chunks of any size.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// A header, or a header and one byte of ReadyForQuery, that is not complete.
    partial: [u8; HEADER_BYTES + 1],
    partial_bytes: u8,
    /// What is left of the present message.
    skip: u32,
}

/// A length that no message has: this is not the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotFramed;

impl Frames {
    /// Calls `found` with type and first content byte (zero but for ReadyForQuery) of each message
    /// that begins in `chunk`.
    pub(super) fn scan(
        &mut self,
        mut chunk: &[u8],
        mut found: impl FnMut(u8, u8),
    ) -> Result<(), NotFramed> {
        loop {
            let skipped = (self.skip as usize).min(chunk.len());
            self.skip -= skipped as u32;
            chunk = &chunk[skipped..];
            let Some((&first, _)) = chunk.split_first() else {
                return Ok(());
            };
            let kind = if self.partial_bytes == 0 {
                first
            } else {
                self.partial[0]
            };
            let needed = HEADER_BYTES + usize::from(kind == READY_FOR_QUERY);
            let have = usize::from(self.partial_bytes);
            let taken = (needed - have).min(chunk.len());
            self.partial[have..have + taken].copy_from_slice(&chunk[..taken]);
            chunk = &chunk[taken..];
            if have + taken < needed {
                self.partial_bytes = (have + taken) as u8;
                return Ok(());
            }
            self.partial_bytes = 0;
            self.skip = self.content_left(needed)?;
            let content = if needed > HEADER_BYTES {
                self.partial[HEADER_BYTES]
            } else {
                0
            };
            found(kind, content);
        }
    }

    /// Whether no message is under way.
    pub(super) fn at_border(&self) -> bool {
        self.skip == 0 && self.partial_bytes == 0
    }

    fn content_left(&self, read: usize) -> Result<u32, NotFramed> {
        let [_, a, b, c, d, _] = self.partial;
        let content_read = (read - HEADER_BYTES) as u32;
        u32::from_be_bytes([a, b, c, d])
            .checked_sub(LENGTH_BYTES + content_read)
            .ok_or(NotFramed)
    }
}
