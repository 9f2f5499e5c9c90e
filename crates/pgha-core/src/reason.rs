//! The one list of reasons that pgha gives for what it does and for what it waits.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal, $sentence:literal;)+) => {
        /// Why a member or the cluster is as it is. The code is for programs, the sentence for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that programs see.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What it means and what to do.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    /// Waiting for peers before the cluster exists.
    Forming => "forming", "the cluster is not formed yet: every listed peer has to answer with the same list";
    /// A listed peer does not answer.
    PeerMissing => "peer_missing", "a listed peer does not answer: start it, or correct its address in the peer list";
    /// Peer lists differ.
    PeerListsDiffer => "peer_lists_differ", "the members were started with different peer lists: make them equal";
    /// Data directories of different clusters.
    SystemIdentifiersDiffer => "system_identifiers_differ", "data directories of different clusters were found: move the wrong one away";
    /// The peer belongs to another cluster.
    ForeignCluster => "foreign_cluster", "the address belongs to another cluster: correct the peer list";
    /// Another sidecar has this member's name.
    NameTaken => "name_taken", "another sidecar has this name: give each member a name of its own, and list each where it is reached";
    /// The raft store was quarantined.
    StoreDamaged => "store_damaged", "the raft store is damaged and was moved aside: the member returns under a new raft id";
    /// No quorum answers.
    NoQuorum => "no_quorum", "no quorum of members answers: start the missing ones or mend the network; only if most of them are lost for ever: `pgha-ctl quorum recover` on the one to go on with";
    /// The cluster went on without this member.
    RuledOut => "ruled_out", "the quorum was lost and recovered without this member: it has no vote, and comes back by itself under a new raft id once it is started and reaches the others";
    /// Nobody is known to hold the lease.
    NoPrimary => "no_primary", "nobody holds the lease: a primary is being chosen";
    /// Replicas lag too far.
    LagTooHigh => "lag_too_high", "no replica is known to be within max_lag_on_failover: start the old primary, or `pgha-ctl failover --to NAME --allow-data-loss`";
    /// Nobody can be promoted.
    NoCandidate => "no_candidate", "no member can be promoted: start a data member that has the cluster's data";
    /// Waiting for grants.
    LeaseWait => "lease_wait", "waiting until a quorum grants the lease: promises to the old primary have to lapse first";
    /// The lease ran out.
    LeaseLost => "lease_lost", "the lease was not renewed by a quorum in time: PostgreSQL was stopped";
    /// A newer epoch is known.
    Superseded => "superseded", "a newer epoch was decided: this member is no longer primary";
    /// Somebody promoted by hand.
    ManualPromotion => "manual_promotion", "PostgreSQL was promoted by hand: it was stopped and will rejoin";
    /// PostgreSQL starts.
    Starting => "starting", "PostgreSQL is starting";
    /// Initialising.
    Initializing => "initializing", "initdb is running";
    /// Clone in progress.
    Cloning => "cloning", "the data is being copied from another member";
    /// Rewind in progress.
    Rewinding => "rewinding", "diverged data is being rewound to the primary's line";
    /// Promotion in progress.
    Promoting => "promoting", "PostgreSQL is being promoted";
    /// Cutting the receiver.
    Revoking => "revoking", "the old epoch was revoked: receivers are being cut and positions reported";
    /// Waiting for a checkpoint.
    WaitingForCheckpoint => "waiting_for_checkpoint", "waiting until the new primary has checkpointed on its timeline: only then can diverged data be rewound";
    /// Waiting for the primary.
    WaitingForPrimary => "waiting_for_primary", "waiting until the primary serves";
    /// Lineage differs.
    Diverged => "diverged", "the data has left the cluster's line and will be rewound or cloned";
    /// Not attached.
    NotStreaming => "not_streaming", "the replica follows but its receiver is not connected: see PostgreSQL's log";
    /// The settings of the replica are lower than those that the primary runs with.
    SettingsTooLow => "settings_too_low", "the primary runs with higher settings, so the replica has paused its replay: its PostgreSQL is restarted with the settings of the cluster";
    /// The data directory was lost.
    DataMissing => "data_missing", "there is no data directory: it will be cloned";
    /// The system lets nobody look.
    DataUnreadable => "data_unreadable", "the data directory cannot be looked into; nothing is changed, and it is looked at again every 5 s: see the log for what the system says";
    /// The directory is not usable.
    DataForeign => "data_foreign", "the data directory belongs to another cluster: move it away or correct postgres.data_dir";
    /// The major version differs.
    MajorVersionDiffers => "major_version_differs", "the data directory is of another major version than the PostgreSQL found: install that version or set postgres.bin_dir";
    /// The last job failed.
    JobFailed => "job_failed", "the last step failed and will be tried again: see detail";
    /// PostgreSQL could not be started.
    StartFailed => "start_failed", "PostgreSQL does not start: see its log, run/postgres.log under data_dir";
    /// Handover in progress.
    Handover => "handover", "a switchover is under way: new connections are held";
    /// The member cannot be reached.
    Unreachable => "unreachable", "the member does not answer: start it or mend the network";
    /// Shutting down.
    ShuttingDown => "shutting_down", "the sidecar was asked to stop";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
