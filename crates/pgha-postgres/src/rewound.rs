//! A note beside the data directory that it was rewound and is not consistent yet.
//!
//! `pg_rewind` copies pages that are as new as its source, so nobody is answered before WAL was replayed
//! up to there, and that WAL may have to come from the source. A sidecar that is started meanwhile has to
//! know it: a standby that it starts without an upstream would wait for the rest for ever.

use std::path::Path;

use pgha_core::Epoch;

use crate::files::{FileError, read_if_present, remove_durably, write_atomically};

const FILE: &str = "rewound";

/// The data directory was rewound to the primary of this epoch. Durable when it returns.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn note_rewound(run_dir: &Path, epoch: Epoch) -> Result<(), FileError> {
    write_atomically(&run_dir.join(FILE), format!("{}\n", epoch.0).as_bytes())
}

/// The epoch to whose primary the data directory was rewound, where it has not been consistent since.
/// What cannot be understood is the epoch of nobody: data of which nobody knows where it goes on.
///
/// # Errors
///
/// Where the file is there and cannot be read.
pub fn rewound_to(run_dir: &Path) -> Result<Option<Epoch>, FileError> {
    let text = read_if_present(&run_dir.join(FILE))?;
    Ok(text.map(|text| text.trim().parse().map_or(Epoch::NONE, Epoch)))
}

/// It is consistent, or another directory has taken its place.
///
/// # Errors
///
/// Where the file cannot be removed.
pub fn forget_rewound(run_dir: &Path) -> Result<(), FileError> {
    remove_durably(&run_dir.join(FILE)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(rewound_to(dir.path()).unwrap(), None);
        note_rewound(dir.path(), Epoch(7)).unwrap();
        assert_eq!(rewound_to(dir.path()).unwrap(), Some(Epoch(7)));
        forget_rewound(dir.path()).unwrap();
        forget_rewound(dir.path()).unwrap();
        assert_eq!(rewound_to(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "seven").unwrap();
        assert_eq!(rewound_to(dir.path()).unwrap(), Some(Epoch::NONE));
    }
}
