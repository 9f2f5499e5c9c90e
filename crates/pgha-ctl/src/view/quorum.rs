//! What one member has, for whoever decides to go on with it alone.

use std::fmt::Write;

use pgha_core::Lsn;
use pgha_proto::v1;
use serde::Serialize;

use super::{human_bytes, lsn};
use crate::table;

/// Of a member that heard nobody since it started.
const NEVER_MS: u64 = u64::MAX / 2;

/// `pgha-ctl quorum show --output json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Quorum {
    pub(crate) cluster: String,
    pub(crate) cluster_id: String,
    pub(crate) generation: u64,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) quorum: bool,
    pub(crate) leader: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) adopted_epoch: u64,
    pub(crate) timeline: Option<u32>,
    pub(crate) end_of_wal: Option<String>,
    pub(crate) last_primary: Option<String>,
    pub(crate) primary_flush_lsn: Option<String>,
    /// Where its data left the cluster's line, if it did.
    pub(crate) left_line_at: Option<String>,
    /// What it is known to lack; none where nobody told it how far the primary came.
    pub(crate) known_loss_bytes: Option<u64>,
    /// None where it heard nobody since it started.
    pub(crate) stale_ms: Option<u64>,
    pub(crate) last_index: u64,
    pub(crate) committed_index: u64,
    pub(crate) members: Vec<Member>,
    pub(crate) obstacle: Option<String>,
}

/// One member, as this one sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) votes: bool,
    pub(crate) raft: String,
    pub(crate) answer: Option<String>,
}

impl From<v1::QuorumReply> for Quorum {
    fn from(reply: v1::QuorumReply) -> Self {
        let has = reply.left_line_at.or(reply.end_of_wal);
        let loss = reply.primary_flush_lsn.zip(has);
        let itself =
            reply.last_primary.as_ref() == Some(&reply.name) && reply.left_line_at.is_none();
        Self {
            cluster: reply.cluster,
            cluster_id: reply.cluster_id,
            generation: reply.generation,
            name: reply.name,
            state: reply.state,
            quorum: reply.quorum,
            leader: reply.leader,
            epoch: reply.epoch,
            adopted_epoch: reply.adopted_epoch,
            timeline: reply.timeline,
            end_of_wal: lsn(reply.end_of_wal),
            last_primary: reply.last_primary,
            primary_flush_lsn: lsn(reply.primary_flush_lsn),
            known_loss_bytes: if itself {
                Some(0)
            } else {
                loss.map(|(told, has)| Lsn(has).bytes_behind(Lsn(told)))
            },
            left_line_at: lsn(reply.left_line_at),
            stale_ms: (reply.stale_ms < NEVER_MS).then_some(reply.stale_ms),
            last_index: reply.last_index,
            committed_index: reply.committed_index,
            members: reply.members.into_iter().map(Member::from).collect(),
            obstacle: reply.obstacle,
        }
    }
}

impl From<v1::QuorumMember> for Member {
    fn from(member: v1::QuorumMember) -> Self {
        Self {
            name: member.name,
            kind: member.kind,
            votes: member.votes,
            raft: member.address,
            answer: member.answer,
        }
    }
}

impl Quorum {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = self.own();
        let mut table = table::new(&["MEMBER", "KIND", "VOTES", "RAFT", "ANSWERS"]);
        for member in &self.members {
            let silent = || "does not answer".to_owned();
            table.add_row(vec![
                member.name.clone(),
                member.kind.clone(),
                if member.votes { "yes" } else { "no" }.to_owned(),
                member.raft.clone(),
                member.answer.clone().unwrap_or_else(silent),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(&table));
        if let Some(obstacle) = &self.obstacle {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n{} cannot go on alone: {obstacle}", self.name);
        }
        text
    }

    fn own(&self) -> String {
        let cell = |value: &Option<String>| table::cell(value.as_ref());
        let age = self.stale_ms.map_or_else(
            || "has heard nobody since it started".to_owned(),
            |ms| format!("last heard from the others {:.1} s ago", ms as f64 / 1000.0),
        );
        let open = self.last_index.saturating_sub(self.committed_index);
        let open = match open {
            0 => String::new(),
            _ => format!(", {open} of them not known to be committed, which will count"),
        };
        format!(
            "cluster {} ({}), generation {}, quorum {}\n\
             this is {}: {}, timeline {}, end of WAL {}\n\
             {age}; epoch {}, adopted {}; {} log entries{open}\n\
             last primary known here: {}, WAL flushed to {} as it last told here; {}\n",
            self.cluster,
            self.cluster_id,
            self.generation,
            if self.quorum { "yes" } else { "NO" },
            self.name,
            self.state,
            table::cell(self.timeline),
            cell(&self.end_of_wal),
            self.epoch,
            self.adopted_epoch,
            self.last_index,
            cell(&self.last_primary),
            cell(&self.primary_flush_lsn),
            self.loss(),
        )
    }

    /// What is lost by going on with this member alone.
    pub(crate) fn loss(&self) -> String {
        let left = self.left_line_at.as_ref().map_or_else(String::new, |at| {
            format!(
                "; its data left the cluster's line at {at}, and what it has beyond that goes on"
            )
        });
        format!("{}{left}", self.lacks())
    }

    fn lacks(&self) -> String {
        let name = &self.name;
        match (self.known_loss_bytes, &self.last_primary) {
            (Some(_), Some(primary)) if primary == name && self.left_line_at.is_none() => {
                format!("{name} was it, and lacks only what a primary after it may have written")
            }
            (Some(0), _) => format!("{name} lacks nothing of that"),
            (Some(bytes), _) => format!("{name} lacks {} of that", human_bytes(bytes)),
            (None, _) => format!("how much of its WAL {name} lacks is not known here"),
        }
    }
}
