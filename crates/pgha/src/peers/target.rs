//! Who is asked for reports, and whose answer counts.

use anyhow::bail;
use pgha_core::report::MemberReport;
use pgha_core::{MemberName, RaftId, StoreId};
use pgha_proto::{Parties, v1};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) raft_id: RaftId,
    pub(super) store_id: StoreId,
    pub(super) address: String,
}

impl Target {
    /// What is news in the report of the member that was asked. An address may be somebody else's by
    /// now, whose position must not count as that member's.
    pub(super) fn report(
        &self,
        name: &MemberName,
        by: &Parties,
        report: &v1::Report,
    ) -> anyhow::Result<Option<MemberReport>> {
        self.expect(by.from, &by.from_store)?;
        if report.report_json.is_empty() {
            return Ok(None);
        }
        let news: MemberReport = serde_json::from_slice(&report.report_json)?;
        if news.name != *name {
            bail!("the report is of {}, and not of {name}", news.name);
        }
        self.expect(news.raft_id, &news.store_id)?;
        Ok(Some(news))
    }

    fn expect(&self, raft_id: RaftId, store_id: &StoreId) -> anyhow::Result<()> {
        if (raft_id, store_id) != (self.raft_id, &self.store_id) {
            bail!(
                "raft id {raft_id} with store {store_id} reports, and not raft id {} with store {}",
                self.raft_id,
                self.store_id
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::report_of;
    use super::*;

    fn target() -> Target {
        Target {
            raft_id: RaftId(2),
            store_id: "s2".into(),
            address: "127.0.0.1:1".to_owned(),
        }
    }

    fn parties(from: u64, store: &str) -> Parties {
        Parties {
            cluster_id: "c".into(),
            generation: pgha_core::Generation(1),
            from: RaftId(from),
            from_store: store.into(),
            to: RaftId(1),
            to_store: None,
        }
    }

    #[test]
    fn only_the_member_that_was_asked_reports() {
        let name: MemberName = "n2".into();
        let take = |by: &Parties, report: &v1::Report| target().report(&name, by, report);
        let asked = parties(2, "s2");
        let taken = take(&asked, &report_of("n2", 2, "s2")).unwrap();
        assert_eq!(taken.map(|report| report.name), Some(name.clone()));
        assert_eq!(take(&asked, &v1::Report::default()).unwrap(), None);

        // Even a beat is somebody's.
        assert!(take(&parties(3, "s3"), &v1::Report::default()).is_err());
        assert!(take(&parties(2, "s9"), &v1::Report::default()).is_err());
        for other in [
            report_of("n3", 2, "s2"),
            report_of("n2", 3, "s2"),
            report_of("n2", 2, "s9"),
        ] {
            assert!(take(&asked, &other).is_err());
        }
    }
}
