//! What a forwarding sidecar says first.
//!
//! Shaped as a startup packet (PostgreSQL manual, 55.7 "StartupMessage") with a request code of
//! our own, so that the receiver reads it the way it reads any first packet and a PostgreSQL that
//! gets it by mistake refuses it.

use pgha_core::{ClusterId, Epoch};
use sha2::{Digest, Sha256};

use crate::protocol::ProtocolError;

/// The request code: "PGHA" in ASCII.
pub(crate) const REQUEST_CODE: u32 = u32::from_be_bytes(*b"PGHA");
/// Version of the layout below.
const VERSION: u8 = 1;
/// int32 length, int32 code, u64 epoch, u8 kind, u8 version, u16 zero, 16 bytes cluster tag.
pub(crate) const PREAMBLE_BYTES: usize = 36;

/// Tells clusters apart on the wire: the first half of SHA-256 of the cluster id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterTag(pub [u8; 16]);

impl ClusterTag {
    /// The tag of a cluster.
    pub fn of(cluster: &ClusterId) -> Self {
        let digest = Sha256::digest(cluster.as_str().as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&digest[..16]);
        Self(tag)
    }
}

/// Which of the receiver's services is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardKind {
    /// The primary, through its gate.
    ReadWrite,
    /// The receiver's own replica.
    ReadOnly,
}

/// The introduction of a forwarded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The epoch whose primary the sender believes the receiver to be.
    pub epoch: Epoch,
    /// Which service is meant.
    pub kind: ForwardKind,
    /// The sender's cluster.
    pub cluster: ClusterTag,
}

impl Preamble {
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[0..4].copy_from_slice(&(PREAMBLE_BYTES as u32).to_be_bytes());
        bytes[4..8].copy_from_slice(&REQUEST_CODE.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[16] = match self.kind {
            ForwardKind::ReadWrite => b'w',
            ForwardKind::ReadOnly => b'r',
        };
        bytes[17] = VERSION;
        bytes[20..36].copy_from_slice(&self.cluster.0);
        bytes
    }

    /// Reads a packet whose length and request code have been seen.
    pub(crate) fn decode(packet: &[u8]) -> Result<Self, ProtocolError> {
        let packet: &[u8; PREAMBLE_BYTES] = packet
            .try_into()
            .map_err(|_| ProtocolError::Preamble("its length"))?;
        if packet[17] != VERSION {
            return Err(ProtocolError::Preamble("its version"));
        }
        let kind = match packet[16] {
            b'w' => ForwardKind::ReadWrite,
            b'r' => ForwardKind::ReadOnly,
            _ => return Err(ProtocolError::Preamble("its kind")),
        };
        let mut epoch = [0; 8];
        epoch.copy_from_slice(&packet[8..16]);
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&packet[20..36]);
        Ok(Self {
            epoch: Epoch(u64::from_be_bytes(epoch)),
            kind,
            cluster: ClusterTag(cluster),
        })
    }
}
