//! Whether new clients are let in: sessions that are open go on while the postmaster stands still.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{SessionError, SessionOptions};

/// Asks on a new connection for encryption, and leaves with the answer: a new backend gives it before
/// it looks at who asks and whether there is room (manual, "SSL Session Encryption" in "Message Flow"),
/// so that neither a full table of connections nor a locked catalog keeps it back. Leaving then is not
/// logged.
pub async fn knock(options: &SessionOptions, limit: Duration) -> Result<(), SessionError> {
    match tokio::time::timeout(limit, knock_now(options)).await {
        Ok(answer) => answer,
        Err(_) => Err(SessionError::Silent { waited: limit }),
    }
}

async fn knock_now(options: &SessionOptions) -> Result<(), SessionError> {
    let mut stream = options.open().await?;
    let closed = |error: std::io::Error| SessionError::Closed(error.to_string());
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(closed)?;
    match stream.read_u8().await.map_err(closed)? {
        b'S' | b'N' => Ok(()),
        other => Err(SessionError::unexpected(format!(
            "byte {other} to a request for encryption"
        ))),
    }
}

impl SessionOptions {
    /// A connection on which nothing was said yet.
    pub(super) async fn open(&self) -> Result<UnixStream, SessionError> {
        let path = self.socket_dir.join(format!(".s.PGSQL.{}", self.port));
        let stream = UnixStream::connect(path).await;
        stream.map_err(|error| SessionError::Refused(error.to_string()))
    }
}
