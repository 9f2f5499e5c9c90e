//! `pg_controldata`'s lines read a second time, for comparison.

use super::*;

pub(super) const STATES: [(&str, ClusterState); 7] = [
    ("starting up", ClusterState::StartingUp),
    ("shut down", ClusterState::ShutDown),
    ("shut down in recovery", ClusterState::ShutDownInRecovery),
    ("shutting down", ClusterState::ShuttingDown),
    ("in crash recovery", ClusterState::InCrashRecovery),
    ("in archive recovery", ClusterState::InArchiveRecovery),
    ("in production", ClusterState::InProduction),
];

/// A second reader of the same text, as simple as can be: each value from the one line of its name.
pub(super) struct Reader<'a>(pub(super) &'a str);

impl<'a> Reader<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        let pairs = self.0.split('\n').filter_map(|line| line.split_once(':'));
        let mut values = pairs.filter(|(key, _)| key.trim() == name);
        let (_, value) = values.next()?;
        values.next().is_none().then(|| value.trim())
    }

    fn number<T: TryFrom<u128>>(&self, name: &str) -> Option<T> {
        let value = self.value(name)?;
        // Never printed, and the number is the same.
        let number = digits(value.strip_prefix('+').unwrap_or(value), 10)?;
        T::try_from(number).ok()
    }

    fn position(&self, name: &str) -> Option<Lsn> {
        let (high, low) = self.value(name)?.split_once('/')?;
        let half = |half: &str| digits(half, 16).filter(|_| half.len() <= 8);
        u64::try_from(half(high)? << 32 | half(low)?).ok().map(Lsn)
    }

    fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.value(name)?;
        let mut found = words.iter().filter(|(word, _)| *word == value);
        found.next().map(|(_, meaning)| *meaning)
    }

    pub(super) fn control(&self) -> Option<ControlData> {
        Some(ControlData {
            system_identifier: SystemIdentifier(self.number("Database system identifier")?),
            state: self.word("Database cluster state", &STATES)?,
            checkpoint: self.position("Latest checkpoint location")?,
            redo: self.position("Latest checkpoint's REDO location")?,
            timeline: TimelineId(self.number("Latest checkpoint's TimeLineID")?),
            min_recovery_end: self.position("Minimum recovery ending location")?,
            min_recovery_timeline: TimelineId(self.number("Min recovery ending loc's timeline")?),
            backup_end_required: self.word(
                "End-of-backup record required",
                &[("yes", true), ("no", false)],
            )?,
            checksums: self.number::<u32>("Data page checksum version")? != 0,
            wal_log_hints: self.word("wal_log_hints setting", &[("on", true), ("off", false)])?,
            wal_level: self.value("wal_level setting")?.to_owned(),
            wal_segment_bytes: self.number("Bytes per WAL segment")?,
            floor: StandbyFloor {
                max_connections: self.number("max_connections setting")?,
                max_worker_processes: self.number("max_worker_processes setting")?,
                max_wal_senders: self.number("max_wal_senders setting")?,
                max_prepared_transactions: self.number("max_prepared_xacts setting")?,
                max_locks_per_transaction: self.number("max_locks_per_xact setting")?,
            },
        })
    }
}

fn digits(text: &str, radix: u32) -> Option<u128> {
    let one = |sum: u128, digit: char| {
        let digit = digit.to_digit(radix)?;
        sum.checked_mul(radix.into())?.checked_add(digit.into())
    };
    text.chars().try_fold(0, one).filter(|_| !text.is_empty())
}
