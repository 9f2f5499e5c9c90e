//! Why a member is not taken back.

use anyhow::anyhow;
use pgha_core::Reason;
use pgha_proto::v1;

/// Why a member is not taken back, where that has a name.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    text: String,
}

impl Refusal {
    pub(super) fn error(reason: Reason, text: String) -> anyhow::Error {
        Self { reason, text }.into()
    }

    /// As another member told it.
    pub(super) fn told(reply: &v1::RejoinReply) -> anyhow::Error {
        let text = reply.reason.clone();
        match Reason::ALL.iter().find(|r| r.code() == reply.reason_code) {
            Some(reason) => Self::error(*reason, text),
            None => anyhow!(text),
        }
    }
}
