//! How long a part of a test run takes.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tests that belong together, and the time that they may take together.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    within: Duration,
    clock: Mutex<Clock>,
}

#[derive(Debug)]
struct Clock {
    began: Option<Instant>,
    running: usize,
    done: usize,
}

/// A test of the part, while it runs.
#[derive(Debug)]
pub struct Turn(&'static Part);

impl Part {
    /// None of its tests has begun.
    pub const fn new(name: &'static str, within: Duration) -> Self {
        Self {
            name,
            within,
            clock: Mutex::new(Clock {
                began: None,
                running: 0,
                done: 0,
            }),
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a test; it ends with what is returned.
    pub fn begin(&'static self) -> Turn {
        let mut clock = self.clock();
        clock.began.get_or_insert_with(Instant::now);
        clock.running += 1;
        Turn(self)
    }

    fn describe(&self, tests: usize, took: Duration) -> String {
        let (name, took, within) = (self.name, took.as_secs(), self.within.as_secs());
        let text = format!("{name}: {tests} tests took {took} s together");
        // A warning only: how long it takes is also a matter of what else the machine has to do.
        if took > within {
            format!("WARNING {text}, more than the {within} s that they may take")
        } else {
            format!("{text} (of {within} s)")
        }
    }
}

impl Drop for Turn {
    /// Nobody knows which test is the last: it is told whenever none runs, to the terminal itself, as the
    /// runner shows nothing of a test that passes.
    fn drop(&mut self) {
        let mut clock = self.0.clock();
        clock.running -= 1;
        clock.done += 1;
        if clock.running == 0 {
            let took = clock.began.map(|began| began.elapsed()).unwrap_or_default();
            let text = self.0.describe(clock.done, took);
            let _closed = writeln!(std::io::stderr(), "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_a_warning() {
        let part = Part::new("chaos", Duration::from_secs(480));
        let fine = part.describe(7, Duration::from_secs(300));
        assert_eq!(fine, "chaos: 7 tests took 300 s together (of 480 s)");
        let slow = part.describe(7, Duration::from_secs(500));
        assert!(
            slow.starts_with("WARNING chaos: 7 tests took 500 s"),
            "{slow}"
        );
    }

    #[test]
    fn tests_are_counted_from_the_first_to_the_last() {
        static PART: Part = Part::new("some", Duration::from_secs(60));
        let counts = || {
            let clock = PART.clock();
            (clock.running, clock.done)
        };
        let first = PART.begin();
        let second = PART.begin();
        drop(first);
        assert_eq!(counts(), (1, 1));
        drop(second);
        assert_eq!(counts(), (0, 2));
    }
}
