//! Whether new clients are let in: sessions that are open go on while the postmaster stands still.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::SessionOptions;

/// What came of a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// Somebody came.
    Answered,
    /// Nobody came, or whoever came left without a word.
    Unanswered(String),
    /// The socket could not be knocked on at all, which says nothing about those who come by another
    /// way: it was removed, or this process has no file descriptor left.
    Undecided(String),
}

/// Asks on a new connection for encryption, and leaves with the answer: a new backend gives it before
/// it looks at who asks and whether there is room (manual, "SSL Session Encryption" in "Message Flow"),
/// so that neither a full table of connections nor a locked catalog keeps it back. Leaving then is not
/// logged.
pub async fn knock(options: &SessionOptions, limit: Duration) -> Knock {
    match tokio::time::timeout(limit, knock_now(options)).await {
        Ok(outcome) => outcome,
        Err(_) => Knock::Unanswered(format!("no answer within {limit:?}")),
    }
}

async fn knock_now(options: &SessionOptions) -> Knock {
    let mut stream = match UnixStream::connect(options.socket()).await {
        Ok(stream) => stream,
        // As many as the kernel queues have knocked, and nobody came to any of them (`unix(7)`).
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Knock::Unanswered("the queue of those who wait is full".to_owned());
        }
        Err(error) => return Knock::Undecided(error.to_string()),
    };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let asked = async {
        stream.write_all(&request).await?;
        stream.read_u8().await
    };
    match asked.await {
        // `S`, `N`, or the `E` of a postmaster that has no room for another process.
        Ok(_) => Knock::Answered,
        Err(error) => Knock::Unanswered(error.to_string()),
    }
}

impl SessionOptions {
    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}
