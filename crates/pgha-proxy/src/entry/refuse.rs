//! The proper end of a connection that waited in vain.

use std::time::Duration;

use super::first_bytes::Client;
use crate::limits::Limits;
use crate::protocol::{CANNOT_CONNECT_NOW, FirstPacket, NO_ENCRYPTION, error_response};

/// For a client to take the error: it is small, so this passes only where it reads nothing.
const SAY_LIMIT: Duration = Duration::from_secs(1);

/// Tells a client why it is refused, where the protocol has a way to: encryption is declined
/// first, and whoever insists on it is closed without a word.
pub(super) async fn refuse(client: &mut Client, packet: FirstPacket, why: &str, limits: &Limits) {
    let mut packet = packet;
    // GSSAPI, then TLS, then plain.
    for _ in 0..3 {
        match packet {
            FirstPacket::Startup => {
                let message = format!("pgha cannot serve this connection now: {why}");
                let error = error_response(CANNOT_CONNECT_NOW, &message);
                // It may have gone meanwhile: nothing to be done about that.
                let _ = client.say(&error, SAY_LIMIT).await;
                return;
            }
            FirstPacket::Ssl | FirstPacket::GssEncryption => {
                if client.say(&[NO_ENCRYPTION], SAY_LIMIT).await.is_err() {
                    return;
                }
                client.forget_first_packet();
                match client.first_packet(limits.startup_timeout).await {
                    Ok((next, _)) => packet = next,
                    Err(_) => return,
                }
            }
            FirstPacket::Cancel | FirstPacket::DirectTls | FirstPacket::Forward(_) => return,
        }
    }
}
