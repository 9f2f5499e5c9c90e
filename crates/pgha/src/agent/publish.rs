//! What follows from a decision for others: the report.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgha_core::MemberName;
use pgha_core::decide::{Decision, Heard};
use pgha_core::report::MemberReport;
use pgha_raft::StateView;

use super::{Agent, Published};

impl Agent {
    pub(super) fn publish(
        &self,
        report: Option<MemberReport>,
        decision: &Decision,
        view: &StateView,
        peers: &BTreeMap<MemberName, Heard>,
    ) {
        let report = report.map(|report| MemberReport {
            applied_index: view.applied_index(),
            store_sequence: self.parts.raft.store_sequence(),
            ..report
        });
        self.set_routes(view, peers, report.as_ref());
        self.publish.send_if_modified(|published| {
            let position = &self.local.settled;
            let news = published.report != report
                || published.why != decision.why
                || published.position != *position;
            if news {
                let sequence = published.sequence + 1;
                let why = decision.why.clone();
                *published = Arc::new(Published {
                    report,
                    why,
                    position: position.clone(),
                    sequence,
                    done: published.done,
                });
            }
            news
        });
    }
}
