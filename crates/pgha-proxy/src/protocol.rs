//! The little of PostgreSQL's protocol that is needed to hold, refuse and forward a connection
//! (manual, 55.2.1 "Start-up", 55.7 "Message Formats").

use crate::preamble::{self, Preamble};

/// PostgreSQL's own limit of a startup packet (`MAX_STARTUP_PACKET_LENGTH`).
pub(crate) const STARTUP_BYTES_MAX: usize = 10_000;
/// Length and request code.
const STARTUP_BYTES_MIN: usize = 8;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Header of a TLS record and the type of one that carries a handshake (RFC 8446, 5.1).
const TLS_HEADER_BYTES: usize = 5;
const TLS_HANDSHAKE: u8 = 22;
/// Longest plaintext record.
const TLS_RECORD_BYTES_MAX: usize = 1 << 14;
/// The longest first packet of all: what is kept of a client's bytes never exceeds it.
pub(crate) const FIRST_BYTES_MAX: usize = TLS_HEADER_BYTES + TLS_RECORD_BYTES_MAX;
/// SQLSTATE `cannot_connect_now`.
pub(crate) const CANNOT_CONNECT_NOW: &str = "57P03";
/// SQLSTATE `admin_shutdown`.
pub(crate) const ADMIN_SHUTDOWN: &str = "57P01";
/// The answer to an SSLRequest or a GSSENCRequest that offers no encryption.
pub(crate) const NO_ENCRYPTION: u8 = b'N';

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// CancelRequest.
    Cancel,
    /// A TLS ClientHello without SSLRequest before it (`sslnegotiation=direct`).
    DirectTls,
    /// Another sidecar introduces a connection that it forwards.
    Forward(Preamble),
    /// GSSENCRequest.
    GssEncryption,
    /// SSLRequest.
    Ssl,
    /// StartupMessage, of whatever protocol version: the server is to judge it.
    Startup,
}

/// Why a client's first bytes are not PostgreSQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Too short or too long.
    #[error("a first packet of {0} bytes: PostgreSQL accepts 8 to {STARTUP_BYTES_MAX}")]
    Length(u32),
    /// A preamble that this version does not understand.
    #[error("a forwarded connection whose preamble is not understood ({0}): run one version")]
    Preamble(&'static str),
}

/// Reads the first packet of `bytes`; `None` while it is incomplete. Returns what it is and how
/// long it is. A bad length is reported as soon as it is seen.
pub fn parse_first_packet(bytes: &[u8]) -> Result<Option<(FirstPacket, usize)>, ProtocolError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return parse_tls(bytes);
    }
    let Some(length) = read_u32(bytes, 0) else {
        return Ok(None);
    };
    let size = length as usize;
    if !(STARTUP_BYTES_MIN..=STARTUP_BYTES_MAX).contains(&size) {
        return Err(ProtocolError::Length(length));
    }
    if bytes.len() < size {
        return Ok(None);
    }
    let packet = match read_u32(bytes, 4) {
        Some(CANCEL_REQUEST) => FirstPacket::Cancel,
        Some(GSSENC_REQUEST) => FirstPacket::GssEncryption,
        Some(SSL_REQUEST) => FirstPacket::Ssl,
        Some(preamble::REQUEST_CODE) => FirstPacket::Forward(Preamble::decode(&bytes[..size])?),
        Some(_) | None => FirstPacket::Startup,
    };
    Ok(Some((packet, size)))
}

fn parse_tls(bytes: &[u8]) -> Result<Option<(FirstPacket, usize)>, ProtocolError> {
    let Some(header) = bytes.get(..TLS_HEADER_BYTES) else {
        return Ok(None);
    };
    let record = usize::from(u16::from_be_bytes([header[3], header[4]]));
    // Byte 1 is the major version, 3 since SSL 3.0: anything else is a huge startup packet.
    if header[1] != 3 || record > TLS_RECORD_BYTES_MAX {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        return Err(ProtocolError::Length(length));
    }
    let size = TLS_HEADER_BYTES + record;
    Ok((bytes.len() >= size).then_some((FirstPacket::DirectTls, size)))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

/// An ErrorResponse of severity FATAL (manual, 55.8 "Error and Notice Message Fields").
pub fn error_response(sqlstate: &str, message: &str) -> Vec<u8> {
    let fields = [
        ('S', "FATAL"),
        ('V', "FATAL"),
        ('C', sqlstate),
        ('M', message),
    ];
    let mut body = Vec::with_capacity(64 + message.len());
    for (field, value) in fields {
        body.push(field as u8);
        // A zero byte would end the field early.
        body.extend(value.bytes().filter(|byte| *byte != 0));
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut message = vec![b'E'];
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&body);
    message
}

/// Whether the server's first answer says that it serves nobody at the moment: starting up,
/// shutting down or in recovery. The client is then better held than told.
pub(crate) fn is_cannot_connect_now(answer: &[u8]) -> bool {
    if answer.first() != Some(&b'E') {
        return false;
    }
    let fields = answer.get(5..).unwrap_or_default();
    fields.split(|byte| *byte == 0).any(|field| {
        field
            .split_first()
            .is_some_and(|(kind, value)| *kind == b'C' && value == CANNOT_CONNECT_NOW.as_bytes())
    })
}

#[cfg(test)]
mod tests;
