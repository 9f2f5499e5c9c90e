//! What `pgha-ctl history --output json` says (design 7.2): the journal of changes of primary.

use std::str::FromStr;

use pgha_core::Lsn;
use serde::{Deserialize, Deserializer};

/// One change of primary.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HistoryEntry {
    /// The epoch that began.
    pub epoch: u64,
    /// The timeline of the new primary.
    pub timeline: u32,
    /// Who became primary.
    pub primary: String,
    /// Who was it before; null for the first.
    pub previous_primary: Option<String>,
    /// Why.
    pub cause: String,
    /// RFC 3339.
    pub at: String,
    /// Where the new timeline leaves the old one.
    #[serde(default, deserialize_with = "lsn")]
    pub fork_lsn: Option<Lsn>,
    /// Start of what the old primary wrote and the new one lacks.
    #[serde(default, deserialize_with = "lsn")]
    pub lost_from_lsn: Option<Lsn>,
    /// End of it.
    #[serde(default, deserialize_with = "lsn")]
    pub lost_to_lsn: Option<Lsn>,
    /// The difference.
    pub lost_bytes: Option<u64>,
    /// False until the old primary's own WAL was seen again.
    pub lost_final: Option<bool>,
    /// Milliseconds from the fault to the end of each step.
    #[serde(default)]
    pub steps_ms: serde_json::Value,
}

#[cfg(test)]
impl HistoryEntry {
    /// A failover from `n1` to `n2` that left the old line at 100, or lost a range of it for good.
    pub(crate) fn example(timeline: u32, lost: Option<(u64, u64)>) -> Self {
        Self {
            epoch: 2,
            timeline,
            primary: "n2".to_owned(),
            previous_primary: Some("n1".to_owned()),
            cause: "released".to_owned(),
            at: String::new(),
            fork_lsn: Some(Lsn(lost.map_or(100, |(from, _)| from))),
            lost_from_lsn: lost.map(|(from, _)| Lsn(from)),
            lost_to_lsn: lost.map(|(_, to)| Lsn(to)),
            lost_bytes: lost.map(|(from, to)| to - from),
            lost_final: lost.map(|_| true),
            steps_ms: serde_json::Value::Null,
        }
    }
}

impl HistoryEntry {
    /// The steps in the order of their end.
    pub fn steps(&self) -> Vec<(String, u64)> {
        let mut steps: Vec<(String, u64)> = self
            .steps_ms
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, ms)| Some((name.clone(), ms.as_u64()?)))
            .collect();
        steps.sort_by(|one, other| one.1.cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
        steps
    }
}

fn lsn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lsn>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| Lsn::from_str(&text).map_err(serde::de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_order_and_lsns_as_numbers() -> anyhow::Result<()> {
        let entry: HistoryEntry = serde_json::from_str(
            r#"{"epoch":2,"timeline":2,"primary":"n2","previous_primary":"n1","cause":"released",
                "at":"2026-01-01T00:00:00Z","fork_lsn":"0/3000060","lost_from_lsn":null,
                "lost_to_lsn":null,"lost_bytes":null,"lost_final":null,
                "steps_ms":{"promoted":200,"seen":3,"fenced":40}}"#,
        )?;
        assert_eq!(entry.fork_lsn, Some(Lsn(0x300_0060)));
        let steps = entry.steps();
        let order: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(order, ["seen", "fenced", "promoted"]);
        Ok(())
    }
}
