//! Sessions that commit one row after the other without a pause, and when each was acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio_postgres::{Client, NoTls};

use crate::sql::Target;
use crate::stamped::{Stamp, Stamped};
use crate::wait;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The table of all of them.
pub const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS busy (id bigserial PRIMARY KEY, at timestamptz)";
const COMMIT: &str = "INSERT INTO busy (at) VALUES (clock_timestamp())";

/// One session.
pub struct Busy {
    /// Its backend.
    pub backend: i32,
    acknowledged: Arc<Mutex<Vec<SystemTime>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Busy {
    /// Opens a session that commits until it breaks.
    pub async fn start(target: &Target) -> anyhow::Result<Self> {
        let stream = Stamped::new(target.stream(CONNECT_WITHIN).await?)?;
        let stamp = stream.stamp();
        let mut config = tokio_postgres::Config::new();
        config
            .user("postgres")
            .dbname("postgres")
            .password(&target.password)
            .application_name("pgha-busy");
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(commit(client, stamp, Arc::clone(&acknowledged)));
        Ok(Self {
            backend: row.try_get(0)?,
            acknowledged,
            task,
        })
    }

    /// When the kernel had received each acknowledgement so far.
    pub fn acknowledged(&self) -> Vec<SystemTime> {
        let acknowledged = self.acknowledged.lock();
        acknowledged.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has so many more.
    pub async fn advance(&self, by: usize, within: Duration) -> anyhow::Result<()> {
        let from = self.acknowledged().len();
        wait::until_true("acknowledged commits", within, || {
            self.acknowledged().len() >= from + by
        })
        .await
    }

    /// Waits until the session breaks; all acknowledgements that ever came.
    pub async fn broken(mut self, within: Duration) -> anyhow::Result<Vec<SystemTime>> {
        tokio::time::timeout(within, &mut self.task)
            .await
            .with_context(|| format!("backend {} still serves", self.backend))??;
        Ok(self.acknowledged())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn commit(client: Client, stamp: Stamp, acknowledged: Arc<Mutex<Vec<SystemTime>>>) {
    while client.batch_execute(COMMIT).await.is_ok() {
        let at = stamp.last();
        let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.push(at);
    }
}
