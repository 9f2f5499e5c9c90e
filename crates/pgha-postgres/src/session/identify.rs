//! `IDENTIFY_SYSTEM` (manual, 55.4 "Streaming Replication Protocol"): the only place where a
//! standby without a receiver tells the timeline that it has reached. The client library does not
//! speak the replication protocol, and a few messages suffice: over the socket the operating
//! system vouches for us, so there is no password to exchange.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use pgha_core::{Lsn, SystemIdentifier, TimelineId};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Session, SessionError};

/// An answer of a few hundred bytes; more is not from PostgreSQL.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn by `initdb`.
    pub system_identifier: SystemIdentifier,
    /// The timeline of `position`.
    pub timeline: TimelineId,
    /// Standby: the end of what was received and flushed, or replayed.
    pub position: Lsn,
}

impl Session {
    /// Asks on a connection of its own.
    pub async fn identify(&self, limit: Duration) -> Result<Identity, SessionError> {
        match tokio::time::timeout(limit, self.identify_now()).await {
            Ok(answer) => answer,
            Err(_) => Err(SessionError::Silent { waited: limit }),
        }
    }

    async fn identify_now(&self) -> Result<Identity, SessionError> {
        let stream = UnixStream::connect(self.options.socket()).await;
        let mut wire = Wire {
            stream: stream.map_err(|error| SessionError::Refused(error.to_string()))?,
            buffer: BytesMut::new(),
        };
        let startup = [
            ("user", self.options.superuser.as_str()),
            ("replication", "true"),
            ("application_name", "pgha"),
        ];
        wire.send(|buffer| frontend::startup_message(startup, buffer))
            .await?;
        wire.until_ready().await?;
        wire.send(|buffer| frontend::query("IDENTIFY_SYSTEM", buffer))
            .await?;
        let row = wire.until_ready().await?;
        let row = row.ok_or_else(|| SessionError::unexpected("IDENTIFY_SYSTEM without a row"))?;
        // The server ends the session when the connection closes; there is nothing to wait for.
        wire.send(|buffer| {
            frontend::terminate(buffer);
            Ok(())
        })
        .await?;
        parse(&row)
    }
}

fn parse(row: &DataRowBody) -> Result<Identity, SessionError> {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let fields: Vec<Option<String>> = row
        .ranges()
        .map(|range| Ok(text(range.and_then(|range| row.buffer().get(range)))))
        .collect()
        .map_err(broken)?;
    let field = |at: usize| {
        fields
            .get(at)
            .and_then(Option::as_deref)
            .unwrap_or_default()
    };
    let wrong = || SessionError::unexpected(format!("IDENTIFY_SYSTEM: {fields:?}"));
    Ok(Identity {
        system_identifier: SystemIdentifier(field(0).parse().map_err(|_| wrong())?),
        timeline: TimelineId(field(1).parse().map_err(|_| wrong())?),
        position: field(2).parse().map_err(|_| wrong())?,
    })
}

struct Wire {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Wire {
    async fn send(
        &mut self,
        message: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), SessionError> {
        let mut bytes = BytesMut::new();
        message(&mut bytes).map_err(broken)?;
        self.stream.write_all(&bytes).await.map_err(broken)
    }

    /// Reads until the server is ready for the next query. Returns the last row on the way.
    async fn until_ready(&mut self) -> Result<Option<DataRowBody>, SessionError> {
        let mut row = None;
        loop {
            match self.next().await? {
                Message::ReadyForQuery(_) => return Ok(row),
                Message::DataRow(body) => row = Some(body),
                Message::ErrorResponse(body) => return Err(server_error(&body)),
                Message::AuthenticationCleartextPassword
                | Message::AuthenticationMd5Password(_)
                | Message::AuthenticationSasl(_) => {
                    return Err(SessionError::unexpected(
                        "it asks for a password over the socket",
                    ));
                }
                // Parameters, cancel key, row description, command tag, notices.
                _ => (),
            }
        }
    }

    async fn next(&mut self) -> Result<Message, SessionError> {
        loop {
            if let Some(message) = Message::parse(&mut self.buffer).map_err(broken)? {
                return Ok(message);
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(SessionError::unexpected("an answer that is too long"));
            }
            if self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .map_err(broken)?
                == 0
            {
                return Err(SessionError::Closed("before it answered".to_owned()));
            }
        }
    }
}

fn broken(error: io::Error) -> SessionError {
    SessionError::Closed(error.to_string())
}

fn server_error(body: &ErrorResponseBody) -> SessionError {
    let mut message = String::new();
    let mut code = String::new();
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'M' => message = value,
            b'C' => code = value,
            _ => (),
        }
    }
    SessionError::of_code(code, message)
}
