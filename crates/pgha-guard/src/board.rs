//! The lease board: memory that sidecar and guard share, so that the guard knows the lease's end
//! also while the sidecar hangs.

use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use pgha_core::{Epoch, Mono};

const BOARD_BYTES: usize = size_of::<Words>();
/// A reader meets a writer for nanoseconds; only one that was stopped while writing is met longer.
const READ_ATTEMPTS_MAX: u32 = 1000;
const LEASE_DEFAULT: Duration = Duration::from_millis(1500);

/// What is in the shared memory. All times are `CLOCK_BOOTTIME` in nanoseconds.
#[repr(C)]
struct Words {
    /// Odd while `epoch` and `kill_at` are being written.
    sequence: AtomicU64,
    epoch: AtomicU64,
    kill_at: AtomicU64,
    lease: AtomicU64,
    sidecar_stamp: AtomicU64,
    guard_stamp: AtomicU64,
}

/// The board could not be made or mapped.
#[derive(Debug, thiserror::Error)]
#[error("the lease board cannot be {step}: {error}")]
pub struct BoardError {
    step: &'static str,
    error: nix::Error,
}

/// Until when the tree of an epoch may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoardDeadline {
    /// The only epoch that the deadline is for.
    pub epoch: Epoch,
    /// When the guard kills the tree of that epoch: 0.8 L after the last good send.
    pub kill_at: Mono,
}

/// The shared memory of a sidecar and its guard. Clones are the same board.
#[derive(Clone)]
pub struct LeaseBoard {
    shared: Arc<Shared>,
}

struct Shared {
    words: NonNull<Words>,
    fd: OwnedFd,
    /// Writers of this process take turns; the guard never writes a deadline.
    writing: Mutex<()>,
}

// SAFETY: the memory behind `words` is mapped for as long as the value lives and holds atomics only.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

impl LeaseBoard {
    /// A new board without a deadline. It is a sealed memory file: neither side can shorten it
    /// under the other's feet.
    pub fn create() -> Result<Self, BoardError> {
        let failed = |step| move |error| BoardError { step, error };
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create("pgha-lease-board", flags).map_err(failed("made"))?;
        let file = File::from(fd);
        file.set_len(BOARD_BYTES as u64)
            .map_err(|error| BoardError {
                step: "sized",
                error: nix::Error::from_raw(error.raw_os_error().unwrap_or_default()),
            })?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(failed("sealed"))?;
        let board = Self::map(OwnedFd::from(file))?;
        board.set_lease(LEASE_DEFAULT);
        Ok(board)
    }

    /// Maps the board that another process made.
    #[allow(unsafe_code)]
    pub(crate) fn map(fd: OwnedFd) -> Result<Self, BoardError> {
        const LENGTH: NonZeroUsize = NonZeroUsize::new(BOARD_BYTES).expect("the board has words");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours. The
        // file is at least as long: it was sized before it was sealed.
        let address = unsafe { mmap(None, LENGTH, protection, MapFlags::MAP_SHARED, &fd, 0) }
            .map_err(|error| BoardError {
                step: "mapped",
                error,
            })?;
        let shared = Arc::new(Shared {
            words: address.cast(),
            fd,
            writing: Mutex::new(()),
        });
        Ok(Self { shared })
    }

    #[allow(unsafe_code)]
    fn words(&self) -> &Words {
        // SAFETY: the mapping is page aligned, `BOARD_BYTES` long, lives as long as `shared`, and
        // every bit pattern is a valid `Words`.
        unsafe { self.shared.words.as_ref() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }

    /// Sets until when the tree of `epoch` may live. An earlier deadline than before is seen within
    /// L/10, at the guard's next stamp: where that is too late, order [`crate::Order::Empty`] too.
    ///
    /// False, and nothing is changed, where the board is at a higher epoch: a late writer of an
    /// old epoch must not take the deadline of the present one away.
    pub fn set_deadline(&self, epoch: Epoch, kill_at: Mono) -> bool {
        let _turn = self
            .shared
            .writing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let words = self.words();
        if epoch.0 < words.epoch.load(Ordering::Relaxed) {
            return false;
        }
        let sequence = words.sequence.load(Ordering::Relaxed);
        words.sequence.store(sequence + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        words.epoch.store(epoch.0, Ordering::Relaxed);
        words.kill_at.store(kill_at.as_nanos(), Ordering::Relaxed);
        words.sequence.store(sequence + 2, Ordering::Release);
        true
    }

    /// The deadline; none where a writer was stopped in the middle of it. A reader then keeps to
    /// what it read before: an epoch is never paired with another's deadline.
    pub fn deadline(&self) -> Option<BoardDeadline> {
        let words = self.words();
        for _ in 0..READ_ATTEMPTS_MAX {
            let before = words.sequence.load(Ordering::Acquire);
            let epoch = Epoch(words.epoch.load(Ordering::Relaxed));
            let kill_at = Mono::from_nanos(words.kill_at.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == words.sequence.load(Ordering::Relaxed) {
                return Some(BoardDeadline { epoch, kill_at });
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Sets the lease time L, of which the guard stamps every tenth while a deadline applies.
    pub fn set_lease(&self, lease: Duration) {
        let nanos = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        self.words().lease.store(nanos, Ordering::Relaxed);
    }

    /// The lease time L.
    pub fn lease(&self) -> Duration {
        Duration::from_nanos(self.words().lease.load(Ordering::Relaxed))
    }

    /// The sidecar's agent loop lives.
    pub fn stamp_sidecar(&self, now: Mono) {
        let stamp = &self.words().sidecar_stamp;
        stamp.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// When the sidecar's agent loop last said that it lives.
    pub fn sidecar_stamp(&self) -> Mono {
        Mono::from_nanos(self.words().sidecar_stamp.load(Ordering::Relaxed))
    }

    pub(crate) fn stamp_guard(&self, now: Mono) {
        let stamp = &self.words().guard_stamp;
        stamp.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// When the guard's loop last said that it lives.
    pub fn guard_stamp(&self) -> Mono {
        Mono::from_nanos(self.words().guard_stamp.load(Ordering::Relaxed))
    }
}

impl Drop for Shared {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nobody borrows from it any more. A failure
        // leaves the mapping in place, which is harmless.
        let _ = unsafe { munmap(self.words.cast::<c_void>(), BOARD_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second_mapping(board: &LeaseBoard) -> LeaseBoard {
        LeaseBoard::map(board.fd().try_clone_to_owned().expect("duplicated")).expect("mapped")
    }

    #[test]
    fn both_mappings_see_the_same() {
        let sidecar = LeaseBoard::create().expect("made");
        let guard = second_mapping(&sidecar);
        assert!(sidecar.set_deadline(Epoch(3), Mono::from_millis(7)));
        let expected = BoardDeadline {
            epoch: Epoch(3),
            kill_at: Mono::from_millis(7),
        };
        assert_eq!(guard.deadline(), Some(expected));
        guard.stamp_guard(Mono::from_millis(9));
        assert_eq!(sidecar.guard_stamp(), Mono::from_millis(9));
        assert_eq!(guard.lease(), LEASE_DEFAULT);
    }

    #[test]
    fn a_lower_epoch_changes_nothing() {
        let board = LeaseBoard::create().expect("made");
        assert!(board.set_deadline(Epoch(3), Mono::from_millis(7)));
        assert!(!board.set_deadline(Epoch(2), Mono::NEVER));
        assert_eq!(
            board.deadline().expect("whole").kill_at,
            Mono::from_millis(7)
        );
    }

    #[test]
    fn a_writer_that_was_stopped_gives_nothing() {
        let board = LeaseBoard::create().expect("made");
        board.words().sequence.fetch_add(1, Ordering::Relaxed);
        assert_eq!(board.deadline(), None);
    }

    #[test]
    fn a_pair_is_never_torn() {
        let board = LeaseBoard::create().expect("made");
        let reader = second_mapping(&board);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..200_000 {
                    board.set_deadline(Epoch(number), Mono::from_nanos(number));
                }
            });
            while reader
                .deadline()
                .is_none_or(|seen| seen.epoch < Epoch(199_999))
            {
                if let Some(seen) = reader.deadline() {
                    assert_eq!(seen.epoch.0, seen.kill_at.as_nanos());
                }
            }
        });
    }
}
