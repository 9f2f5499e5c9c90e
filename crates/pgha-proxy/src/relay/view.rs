//! What can be seen of a session from outside: whether it is between transactions.

use super::frames::{Frames, READY_FOR_QUERY};

/// Of ReadyForQuery: not in a transaction block.
const IDLE: u8 = b'I';

/// Whether a session can be seen into.
pub(crate) enum Visibility {
    /// Encrypted, or not the protocol.
    Hidden,
    /// Plain.
    Plain(View),
}

/// Counts requests against answers.
pub(crate) struct View {
    from_client: Frames,
    from_server: Frames,
    /// Messages that ReadyForQuery answers, and has not. The startup message is the first.
    ///
    /// The count may stay too high (a Sync that PostgreSQL ignores during COPY), never too low:
    /// then the session is taken for busy and ends when PostgreSQL stops.
    unanswered: u32,
    /// Whether the first ReadyForQuery was seen.
    ready: bool,
    state: u8,
}

impl Visibility {
    /// A plain session whose startup message was followed by `said`.
    pub(crate) fn plain(said: &[u8]) -> Self {
        let mut plain = Self::Plain(View {
            from_client: Frames::default(),
            from_server: Frames::default(),
            unanswered: 1,
            ready: false,
            state: 0,
        });
        plain.client_said(said);
        plain
    }

    pub(super) fn client_said(&mut self, chunk: &[u8]) {
        let Self::Plain(View {
            from_client,
            unanswered,
            state,
            ..
        }) = self
        else {
            return;
        };
        let framed = from_client.scan(chunk, |kind, _| {
            // Whatever it is, the session is not idle before the next ReadyForQuery.
            *state = 0;
            // Query, Sync, FunctionCall.
            if matches!(kind, b'Q' | b'S' | b'F') {
                *unanswered = unanswered.saturating_add(1);
            }
        });
        if framed.is_err() {
            *self = Self::Hidden;
        }
    }

    pub(super) fn server_said(&mut self, chunk: &[u8]) {
        let Self::Plain(View {
            from_server,
            unanswered,
            ready,
            state,
            ..
        }) = self
        else {
            return;
        };
        let framed = from_server.scan(chunk, |kind, content| {
            if kind == READY_FOR_QUERY {
                *unanswered = unanswered.saturating_sub(1);
                *ready = true;
                *state = content;
            }
        });
        if framed.is_err() {
            *self = Self::Hidden;
        }
    }

    /// Whether the session is known to be logged in.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Hidden => false,
            Self::Plain(view) => view.ready,
        }
    }

    /// Whether everything was answered, outside a transaction, with no message half said.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Hidden => false,
            Self::Plain(view) => {
                view.unanswered == 0
                    && view.state == IDLE
                    && view.from_client.at_border()
                    && view.from_server.at_border()
            }
        }
    }
}
