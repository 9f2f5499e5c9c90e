//! What may change the replicated state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::journal::{Cause, Evidence, LostRange, Step};
use crate::{
    ClusterId, Epoch, ForkId, Generation, Lsn, Member, MemberName, Nonce, RaftId, Secret, Settings,
    SystemIdentifier, TimelineId,
};

/// One committed change. Each carries the epoch or version that it expects, so that a replay or a
/// late proposal is a refusal and not a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The first entry of a cluster: who and what it is.
    Create(Create),
    /// Orders the first data directory.
    Bootstrap {
        /// The epoch before this one.
        expected: Epoch,
        /// Who runs `initdb`.
        node: MemberName,
    },
    /// Ends an epoch: nobody is primary until the [`Command::Primary`] of the new one.
    Revoke(Revoke),
    /// Names the primary of the epoch that the last Revoke or Bootstrap began.
    Primary(Primary),
    /// The primary's gate is open: what its promotion came to.
    Opened(Opened),
    /// Plans a change of primary: its holder hands over, to the target where one is named.
    Handover {
        /// The epoch that is to end.
        epoch: Epoch,
        /// Who is to be primary; the best one when absent.
        target: Option<MemberName>,
        /// How long it may take, in milliseconds of the raft leader's and the holder's clocks.
        deadline_ms: u64,
    },
    /// Gives a handover up.
    HandoverEnd {
        /// The epoch it was for.
        epoch: Epoch,
        /// Why.
        why: String,
    },
    /// Changes settings, all or none.
    SetSettings {
        /// The version that the change was made from.
        expected_version: u64,
        /// Keys and values as typed.
        set: BTreeMap<String, String>,
        /// Keys that go back to their default.
        unset: Vec<String>,
    },
    /// Adds a member, or gives a known one a new store, raft id and addresses.
    PutMember {
        /// Its name.
        name: MemberName,
        /// The raft id that it had; absent for a new member.
        replaces: Option<RaftId>,
        /// What it is now.
        member: Member,
    },
    /// Goes on with one member after the quorum was lost for ever. Written by the rewrite of that
    /// member's store, never proposed.
    Recover(Recover),
    /// A tail that an epoch does without, as found on a member that has it.
    Lost {
        /// The epoch that began with the loss.
        epoch: Epoch,
        /// The range.
        range: LostRange,
        /// Who has it.
        by: MemberName,
    },
}

/// See [`Command::Create`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Its name.
    pub cluster: String,
    /// Its id, drawn at formation.
    pub cluster_id: ClusterId,
    /// 1, unless recovered.
    pub generation: Generation,
    /// Everybody on the peer list.
    pub members: BTreeMap<MemberName, Member>,
    /// First settings.
    pub settings: Settings,
    /// Password of the replication role, drawn at formation.
    pub replication_secret: Secret,
}

/// See [`Command::Revoke`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// The epoch that ends.
    pub expected: Epoch,
    /// Why.
    pub cause: Cause,
    /// The raft leader that proposed it.
    pub leader: MemberName,
    /// Wall clock of the raft leader, RFC 3339; for people only.
    pub at: String,
    /// What happened before, with times since the fault was seen.
    pub steps: Vec<Step>,
}

/// How PostgreSQL becomes the primary of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartKind {
    /// The first start after `initdb`.
    Initial,
    /// A replica is promoted to the assigned timeline.
    Promotion,
    /// The old primary is started again on its own timeline.
    Restart,
    /// The old primary goes on without a stop.
    Reinstatement,
}

/// See [`Command::Primary`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primary {
    /// The epoch it is for; begun by a Revoke or a Bootstrap.
    pub epoch: Epoch,
    /// Who.
    pub node: MemberName,
    /// Of the sidecar process that may hold the lease.
    pub nonce: Nonce,
    /// How.
    pub kind: StartKind,
    /// Assigned for a promotion, its own otherwise.
    pub timeline: TimelineId,
    /// The timeline it comes from.
    pub parent: TimelineId,
    /// End of WAL that it reported.
    pub lsn: Lsn,
    /// How far the one before it was known to have come, where no operator gave the rest up.
    #[serde(default)]
    pub known_end: Lsn,
    /// Drawn for a promotion.
    pub fork_id: Option<ForkId>,
    /// Set by the initial one.
    pub system_identifier: Option<SystemIdentifier>,
    /// Wall clock of the raft leader, RFC 3339; for people only.
    pub at: String,
    /// What the choice was made from.
    pub evidence: Vec<Evidence>,
    /// What is known to be lost by it.
    pub lost: Option<LostRange>,
    /// Times since the fault was seen.
    pub steps: Vec<Step>,
}

impl Primary {
    /// The first primary of all, of what `initdb` made.
    pub const fn initial(
        epoch: Epoch,
        node: MemberName,
        nonce: Nonce,
        system_identifier: SystemIdentifier,
        at: String,
    ) -> Self {
        Self {
            epoch,
            node,
            nonce,
            kind: StartKind::Initial,
            timeline: TimelineId(1),
            parent: TimelineId(1),
            lsn: Lsn::ZERO,
            known_end: Lsn::ZERO,
            fork_id: None,
            system_identifier: Some(system_identifier),
            at,
            evidence: Vec::new(),
            lost: None,
            steps: Vec::new(),
        }
    }
}

/// See [`Command::Recover`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// The generation that begins: one more than the one that ends.
    pub generation: Generation,
    /// The epoch that begins: higher than any that the survivor adopted or has in its log.
    pub epoch: Epoch,
    /// Who goes on alone, and is to be primary.
    pub survivor: MemberName,
    /// How far the primary of the epoch that ends told the survivor that its WAL was flushed.
    #[serde(default)]
    pub told: Option<Lsn>,
    /// Wall clock of the survivor, RFC 3339; for people only.
    pub at: String,
}

/// See [`Command::Opened`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The epoch that opened.
    pub epoch: Epoch,
    /// The timeline that PostgreSQL is on.
    pub timeline: TimelineId,
    /// Where that timeline leaves its parent; of a promotion only.
    pub fork_lsn: Option<Lsn>,
    /// End of the record that stored the fork id; of a promotion only.
    pub fork_row_lsn: Option<Lsn>,
    /// Times since the fault was seen.
    pub steps: Vec<Step>,
}
