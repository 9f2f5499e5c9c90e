//! What `pgha-ctl status --output json` says (design 7.2).

use std::collections::BTreeSet;

use serde::Deserialize;

/// The whole answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Name of the cluster.
    pub cluster: String,
    /// Null before formation.
    pub cluster_id: Option<String>,
    /// Raised by the recovery of a lost quorum.
    pub generation: u64,
    /// Whether the answering member hears a quorum.
    pub quorum: bool,
    /// Age of the view.
    pub stale_ms: u64,
    /// PostgreSQL's; null before formation.
    pub system_identifier: Option<serde_json::Value>,
    /// Null before formation.
    pub epoch: Option<u64>,
    /// Timeline of the primary.
    pub timeline: Option<u32>,
    /// Null where nobody is known to hold a lease.
    pub primary: Option<String>,
    /// Automatic changes are off.
    pub paused: bool,
    /// The Raft group.
    pub raft: Raft,
    /// One for each member of the list.
    pub members: Vec<MemberStatus>,
    /// Why there is no cluster or no primary.
    #[serde(default)]
    pub reason: Option<String>,
    /// The same with names and numbers.
    #[serde(default)]
    pub detail: Option<String>,
}

/// The Raft group.
#[derive(Debug, Clone, Deserialize)]
pub struct Raft {
    /// The raft leader; null where none is known.
    pub leader: Option<String>,
    /// Raft's term.
    pub term: u64,
    /// Members that vote.
    pub voters: Vec<String>,
    /// Members that only receive the log.
    pub learners: Vec<String>,
}

/// One member.
#[derive(Debug, Clone, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// `data` or `witness`.
    pub kind: String,
    /// `primary`, `replica`, `witness`, `none`.
    pub role: String,
    /// `running`, `streaming`, `fenced` ...
    pub state: String,
    /// One of the documented list.
    pub reason: Option<String>,
    /// The same with names and numbers.
    #[serde(default)]
    pub detail: Option<String>,
    /// Timeline of its PostgreSQL.
    pub timeline: Option<u32>,
    /// Received and flushed WAL.
    pub received_lsn: Option<String>,
    /// Replayed WAL.
    pub replayed_lsn: Option<String>,
    /// Behind the primary.
    pub lag_bytes: Option<u64>,
}

impl Status {
    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&MemberStatus> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Says what is missing for "healthy" as design 7.2 defines it, or nothing.
    pub fn ailment(&self, names: &BTreeSet<String>) -> Option<String> {
        let Some(primary) = &self.primary else {
            return Some(format!(
                "no primary (reason {:?}, quorum {})",
                self.reason, self.quorum
            ));
        };
        if !self.quorum {
            return Some("no quorum".to_owned());
        }
        let voters: BTreeSet<String> = self.raft.voters.iter().cloned().collect();
        if voters != *names {
            return Some(format!("voters are {voters:?}, not {names:?}"));
        }
        names.iter().find_map(|name| {
            let Some(member) = self.member(name) else {
                return Some(format!("{name} is not listed"));
            };
            let expected = if name == primary {
                ("primary", "running")
            } else {
                ("replica", "streaming")
            };
            let seen = (member.role.as_str(), member.state.as_str());
            (seen != expected).then(|| format!("{name} is {seen:?}, reason {:?}", member.reason))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"cluster":"main","cluster_id":"c","generation":1,"quorum":true,
        "stale_ms":0,"system_identifier":"7","epoch":3,"timeline":3,"primary":"n2","paused":false,
        "raft":{"leader":"n1","term":5,"voters":["n1","n2"],"learners":[]},
        "sync":{"mode":"async","standbys":[]},
        "members":[{"name":"n1","kind":"data","role":"replica","state":"streaming","reason":null,
          "timeline":3,"received_lsn":"0/5000148","replayed_lsn":"0/5000148","lag_bytes":0,
          "raft":"127.0.0.1:7401","postgres":"127.0.0.1:5501","http":"127.0.0.1:8101",
          "proxy_rw":"127.0.0.1:6501","proxy_ro":"127.0.0.1:6601","tags":{}},
          {"name":"n2","kind":"data","role":"primary","state":"running","reason":null,
          "timeline":3,"received_lsn":"0/5000148","replayed_lsn":"0/5000148","lag_bytes":0,
          "tags":{}}]}"#;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_documented_example_is_healthy() -> anyhow::Result<()> {
        let status: Status = serde_json::from_str(EXAMPLE)?;
        assert_eq!(status.ailment(&names(&["n1", "n2"])), None);
        Ok(())
    }

    #[test]
    fn every_departure_is_named() -> anyhow::Result<()> {
        let broken = |from: &str, to: &str| -> anyhow::Result<Option<String>> {
            let status: Status = serde_json::from_str(&EXAMPLE.replace(from, to))?;
            Ok(status.ailment(&names(&["n1", "n2"])))
        };
        for (from, to) in [
            (r#""primary":"n2""#, r#""primary":null"#),
            (r#""quorum":true"#, r#""quorum":false"#),
            (r#"["n1","n2"]"#, r#"["n1"]"#),
            (r#""streaming""#, r#""cloning""#),
            (r#""running""#, r#""fenced""#),
        ] {
            assert!(broken(from, to)?.is_some(), "{to}");
        }
        Ok(())
    }
}
