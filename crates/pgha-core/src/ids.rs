//! The names and numbers that tell things apart. Each is a type of its own, so that an epoch is
//! never compared with a timeline.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// The fencing token: raised by one committed entry at every change of primary.
    Epoch(u64)
);
number!(
    /// A member of the Raft group. Never used again once given out.
    RaftId(u64)
);
number!(
    /// Raised when a cluster is recovered from the loss of its quorum.
    Generation(u64)
);
number!(
    /// Drawn by each sidecar process at its start: a restarted process is somebody else.
    Nonce(u64)
);
number!(
    /// PostgreSQL's own identifier of a cluster, drawn by `initdb` (`pg_control_system()`).
    SystemIdentifier(u64)
);
number!(
    /// A PostgreSQL timeline (manual, 26.3.5 "Timelines").
    TimelineId(u32)
);

text!(
    /// The name of a member, unique in its cluster.
    MemberName
);
text!(
    /// Drawn once for each cluster.
    ClusterId
);
text!(
    /// Drawn when a Raft store is created: a wiped member has another one.
    StoreId
);
text!(
    /// Drawn for each promotion and stored in the promoted PostgreSQL by its first transaction:
    /// tells twins apart, whose timeline numbers and history files are equal.
    ForkId
);

impl Epoch {
    /// The epoch before the first primary.
    pub const NONE: Self = Self(0);

    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Generation {
    /// The generation after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl TimelineId {
    /// The timeline after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
