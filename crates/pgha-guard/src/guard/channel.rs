//! A connection that is never waited for.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{self, FrameReader};

/// What may lie unsent while the sidecar hangs. Beyond it events are dropped: they are news, and
/// a sidecar that has slept so long starts from what it finds.
const UNSENT_BYTES_MAX: usize = 256 << 10;
/// What is read in one go before the deadline is looked at again.
const READ_BYTES_MAX: usize = 64 << 10;

pub(super) struct Channel {
    stream: UnixStream,
    frames: FrameReader,
    unsent: Vec<u8>,
    closed: bool,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            frames: FrameReader::default(),
            unsent: Vec::new(),
            closed: false,
        })
    }

    /// Reads what has arrived. Afterwards [`Self::next`] gives the messages, then
    /// [`Self::is_closed`] tells whether more may come.
    pub(super) fn fill(&mut self) {
        let mut bytes = [0; 4096];
        let mut total = 0;
        while !self.closed && total < READ_BYTES_MAX {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    self.frames.push(bytes.get(..count).unwrap_or_default());
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
    }

    /// The next whole message. One that cannot be understood closes the connection: what follows
    /// would be guesswork.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        match self.frames.next() {
            Ok(message) => message,
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn send<T: Serialize>(&mut self, message: &T) {
        if self.unsent.len() > UNSENT_BYTES_MAX {
            return;
        }
        if let Ok(frame) = frame::encode(message) {
            self.unsent.extend_from_slice(&frame);
        }
        self.flush();
    }

    /// Sends what fits. A broken connection shows at the next read.
    pub(super) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_sleeps_holds_nobody_up_and_loses_only_the_newest() {
        let (ours, theirs) = UnixStream::pair().expect("made");
        let mut sender = Channel::new(ours).expect("made");
        let mut reader = Channel::new(theirs).expect("made");
        let text = "x".repeat(10_000);
        (0..1000).for_each(|number| sender.send(&(number, &text)));
        assert!(sender.unsent.len() < UNSENT_BYTES_MAX + 20_000);
        let mut next = 0;
        while sender.has_unsent() || next == 0 {
            reader.fill();
            while let Some((number, seen)) = reader.next::<(u32, String)>() {
                assert_eq!((number, seen.len()), (next, 10_000));
                next += 1;
            }
            sender.flush();
        }
        assert!(next < 1000, "some were dropped");
        assert!(!reader.is_closed());
        drop(sender);
        // The rest of the bytes, then the end.
        while !reader.is_closed() {
            reader.fill();
        }
    }

    #[test]
    fn nonsense_closes() {
        let (mut ours, theirs) = UnixStream::pair().expect("made");
        let mut reader = Channel::new(theirs).expect("made");
        ours.write_all(&[0, 0, 0, 1, b'?']).expect("sent");
        reader.fill();
        assert_eq!(reader.next::<String>(), None);
        assert!(reader.is_closed());
    }
}
