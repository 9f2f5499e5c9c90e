//! A thread that keeps a deadline, among many that only want to get on.
//!
//! With two processors and sixteen busy sessions the guard, ready to run, was kept waiting for 0.9 s:
//! it lost the primary its lease. Since Linux 6.12 a thread of the normal policy may say how long it wants
//! to run at a time, and who wants little is served first (sched_setattr(2), `sched_runtime`). That takes no
//! privilege. Older kernels ignore it.

use std::io;

use nix::libc;

/// Longer than these threads ever run at a time; the least that Linux takes.
const SLICE_NANOS: u64 = 100_000;
const THIS_THREAD: libc::pid_t = 0;
const NO_FLAGS: libc::c_uint = 0;

/// Asks that this thread runs soon after it wakes. Threads and processes that it begins inherit it.
///
/// # Errors
///
/// What the kernel says; the thread runs on as before.
pub fn run_soon() -> io::Result<()> {
    ask_for(SLICE_NANOS)
}

/// Takes it back. May be called between fork and exec.
pub(crate) fn run_as_others() -> io::Result<()> {
    ask_for(0)
}

/// Where somebody gave this thread another policy, that is left alone.
#[allow(unsafe_code)]
fn ask_for(slice_nanos: u64) -> io::Result<()> {
    let size = libc::c_uint::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?;
    // SAFETY: a plain record of numbers, for which all zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes into the record, which is ours.
    let got = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            THIS_THREAD,
            &raw mut attributes,
            size,
            NO_FLAGS,
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = slice_nanos;
    // SAFETY: the kernel reads the record, whose size it holds.
    let set = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            THIS_THREAD,
            &raw const attributes,
            NO_FLAGS,
        )
    };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code)]
    fn slice_nanos() -> u64 {
        // SAFETY: as above.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>();
        // SAFETY: as above.
        let got = unsafe {
            libc::syscall(
                libc::SYS_sched_getattr,
                THIS_THREAD,
                &raw mut attributes,
                size as libc::c_uint,
                NO_FLAGS,
            )
        };
        assert_eq!(got, 0);
        attributes.sched_runtime
    }

    #[test]
    fn what_was_asked_for_is_taken_back() {
        // A thread of its own: those of the test runner are left alone.
        let asked = std::thread::spawn(|| {
            let before = slice_nanos();
            run_soon().unwrap();
            let soon = slice_nanos();
            run_as_others().unwrap();
            (before, soon, slice_nanos())
        });
        let (before, soon, after) = asked.join().unwrap();
        assert_eq!(before, after);
        // Kernels before 6.12 neither keep nor tell it.
        assert!(soon == SLICE_NANOS || soon == before, "{soon}");
    }
}
