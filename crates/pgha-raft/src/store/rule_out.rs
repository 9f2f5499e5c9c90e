//! The store of a member without which the cluster went on after the loss of its quorum.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pgha_core::Generation;

use super::durable::{rename, sync_dir};
use super::open;

/// In a store that was ruled out: the generation that ruled it out.
const MARK: &str = "ruled-out";
const UNFINISHED: &str = "ruled-out.new";

/// Marks the store in `dir` and moves it aside, whoever has it open; durable when it returns, with
/// the mark first: a crash in between leaves what the next open takes for ruled out. Returns where it
/// is now. Where there is no room for the mark it is moved all the same: that alone keeps it from being
/// opened again, and only what ruled it out is forgotten.
pub(crate) fn rule_out(dir: &Path, generation: Generation) -> io::Result<PathBuf> {
    if let Err(error) = put_mark(dir, generation) {
        tracing::warn!(%error, %generation, "the Raft store is moved aside without the file `{MARK}`");
    }
    set_aside(dir)
}

fn put_mark(dir: &Path, generation: Generation) -> io::Result<()> {
    let unfinished = dir.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    write!(file, "{generation}")?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(MARK))?;
    sync_dir(dir)
}

/// Moves a store aside that is marked already.
pub(crate) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let target = open::quarantine_target(dir);
    rename(dir, &target)?;
    Ok(target)
}

/// The generation that ruled out the store in `dir`, if one did. A mark that cannot be read is one.
pub(crate) fn mark(dir: &Path) -> io::Result<Option<Generation>> {
    match fs::read_to_string(dir.join(MARK)) {
        Ok(text) => Ok(Some(Generation(text.trim().parse().unwrap_or_default()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest generation that ruled out a store of this member, none where none did.
pub(crate) fn newest(dir: &Path) -> Option<Generation> {
    let aside = open::quarantines(dir).into_iter();
    aside.filter_map(|path| mark(&path).ok().flatten()).max()
}
