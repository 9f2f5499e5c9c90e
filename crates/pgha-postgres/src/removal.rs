//! Notices that a running PostgreSQL's data directory is gone. PostgreSQL itself looks once a minute,
//! and until then its old sessions write on to files that no restart will find.

use std::io;
use std::path::Path;
use std::time::Duration;

use inotify::{EventStream, Inotify, WatchMask};
use tokio_stream::StreamExt;

/// A network file system tells nothing of what others remove, and a directory nothing of the one above it
/// that was moved.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Ends once the control file, without which PostgreSQL cannot start, is there no more.
pub async fn removed(data_dir: &Path) {
    removed_within(data_dir, LOOK_EVERY).await;
}

async fn removed_within(data_dir: &Path, look_every: Duration) {
    let control = data_dir.join("global/pg_control");
    // It must watch before the first look, or what happens in between is only seen by the next look.
    let mut watch = Watch::begin(&control)
        .inspect_err(|error| tracing::debug!(%error, "the data directory is only looked at"))
        .ok();
    loop {
        match tokio::fs::metadata(&control).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Ok(_) | Err(_) => {}
        }
        let pause = tokio::time::sleep(look_every);
        match &mut watch {
            Some(watch) => tokio::select! {
                () = watch.changed() => {}
                () = pause => {}
            },
            None => pause.await,
        }
    }
}

struct Watch(EventStream<[u8; 256]>);

impl Watch {
    /// Its number of names, which changes as one is removed, and moves.
    fn begin(file: &Path) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let what = WatchMask::ATTRIB | WatchMask::MOVE_SELF;
        inotify.watches().add(file, what)?;
        Ok(Self(inotify.into_event_stream([0; 256])?))
    }

    /// What it was does not matter: the file is looked at.
    async fn changed(&mut self) {
        if !matches!(self.0.next().await, Some(Ok(_))) {
            // Nobody will tell: what is left is looking.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    const LOOK_SOON: Duration = Duration::from_secs(1);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_removed_directory_is_noticed_at_once_and_a_touched_one_not() {
        for moves in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            let data = dir.path().join("data");
            fs::create_dir_all(data.join("global")).expect("created");
            let control = data.join("global/pg_control");
            fs::write(&control, "x").expect("written");
            let watched = data.clone();
            let watch = tokio::spawn(async move { removed_within(&watched, LOOK_SOON).await });
            fs::write(&control, "y").expect("written");
            tokio::time::sleep(LOOK_SOON + LOOK_SOON / 2).await;
            assert!(!watch.is_finished(), "it is still there");
            let began = Instant::now();
            if moves {
                fs::rename(&data, dir.path().join("elsewhere")).expect("moved");
            } else {
                fs::remove_dir_all(&data).expect("removed");
            }
            let limit = LOOK_SOON * 5;
            tokio::time::timeout(limit, watch)
                .await
                .expect("noticed")
                .expect("it ends");
            // Between two looks there is half a second: only the event can have told.
            assert!(
                moves || began.elapsed() < LOOK_SOON / 4,
                "{:?}",
                began.elapsed()
            );
        }
    }
}
