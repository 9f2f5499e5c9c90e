//! The promises and the usual suspects, as findings.

mod promises;

use pgha_core::report::{MemberState, Role};
use pgha_core::{Phase, Reason};
use pgha_proto::v1;

use super::status::{Seen, silent_voters};
use super::{Joined, Shared};

/// Looks for what is wrong, or soon will be.
pub(crate) fn doctor(shared: &Shared) -> v1::DoctorReply {
    let mut findings = Findings::default();
    match shared.joined.get() {
        None => {
            let (reason, text) = shared.waiting.borrow().clone();
            findings.add("problem", "formation", &text, reason.sentence());
        }
        Some(joined) => examine(joined, &mut findings),
    }
    for warning in &shared.config.warnings {
        findings.add(
            "warning",
            "configuration",
            &warning.to_string(),
            "see docs/configuration.md",
        );
    }
    v1::DoctorReply {
        findings: findings.0,
    }
}

#[derive(Default)]
struct Findings(Vec<v1::Finding>);

impl Findings {
    fn add(&mut self, level: &str, check: &str, text: &str, way_out: &str) {
        self.0.push(v1::Finding {
            level: level.to_owned(),
            check: check.to_owned(),
            text: text.to_owned(),
            way_out: way_out.to_owned(),
        });
    }

    fn check(&mut self, name: &str, good: Option<&str>, bad: Option<(&str, String, &str)>) {
        match (good, bad) {
            (_, Some((level, text, way_out))) => self.add(level, name, &text, way_out),
            (Some(text), None) => self.add("ok", name, text, ""),
            (None, None) => {}
        }
    }
}

fn examine(joined: &Joined, findings: &mut Findings) {
    let view = joined.raft.state().borrow().clone();
    let role = joined.raft.role().borrow().clone();
    let seen = Seen::of(joined);
    let state = &view.state;
    let no_quorum = (!role.quorum_fresh).then(|| {
        (
            "problem",
            "no quorum answers".to_owned(),
            Reason::NoQuorum.sentence(),
        )
    });
    findings.check("quorum", Some("a quorum answers"), no_quorum);
    let voters = role.voters.len();
    let few = (voters == 2 || voters == 1).then(|| {
        let text = format!("{voters} voters: the loss of any one stops writes");
        ("warning", text, "add a data member or a witness")
    });
    let silent = silent_voters(joined, &role);
    let few = few.or_else(|| {
        let text = format!("{} of {voters} voters do not answer", silent.len());
        let way_out =
            "start them or mend the network: each that is away makes the loss of another worse";
        (!silent.is_empty()).then_some(("warning", text, way_out))
    });
    findings.check("voters", Some("the loss of one voter is survived"), few);
    let primary = seen.primary(&view);
    let absent = primary.is_none().then(|| {
        (
            "problem",
            "nobody serves writes".to_owned(),
            "see the reason in `pgha-ctl status`",
        )
    });
    findings.check("primary", Some("one primary serves writes"), absent);
    let reports: Vec<_> = state
        .members
        .keys()
        .filter_map(|name| seen.report_within(name, promises::gate_told_max(state)))
        .collect();
    promises::add(findings, state, role.voters.iter(), &reports);
    for (name, known) in &state.members {
        if state.is_ruled_out(known) {
            let (check, way_out) = (format!("member {name}"), Reason::RuledOut.sentence());
            findings.add("problem", &check, "has no vote and is not back", way_out);
        } else {
            member(&seen, name, findings);
        }
    }
    if let Phase::Primary(record) = &state.phase
        && role
            .leader
            .as_ref()
            .is_some_and(|leader| leader.name == record.node)
        && voters > 2
    {
        findings.add(
            "warning",
            "leadership",
            "the primary's member leads the Raft group as well",
            "it moves by itself; the loss of both at once costs an election more",
        );
    }
    let lost: u64 = state
        .journal
        .iter()
        .filter_map(|entry| entry.lost)
        .map(|l| l.bytes())
        .sum();
    let lossy = (lost > 0).then(|| {
        let text = format!("{lost} bytes of WAL were lost in changes of primary so far");
        ("warning", text, "`pgha-ctl history` has the ranges")
    });
    findings.check(
        "loss",
        Some("no change of primary is known to have lost anything"),
        lossy,
    );
}

fn member(seen: &Seen, name: &pgha_core::MemberName, findings: &mut Findings) {
    let check = format!("member {name}");
    let Some(report) = seen.report(name) else {
        let sentence = Reason::Unreachable.sentence();
        return findings.add("problem", &check, "does not answer", sentence);
    };
    let good = matches!(report.state, MemberState::Running | MemberState::Streaming);
    if good || report.role == Role::Witness {
        let text = format!("{} {}", report.role, report.state);
        findings.add("ok", &check, &text, "");
    } else {
        let detail = report.detail.as_deref().unwrap_or("no detail");
        let text = format!("{} {}: {detail}", report.role, report.state);
        let way_out = report.reason.map_or("see its log", Reason::sentence);
        findings.add("problem", &check, &text, way_out);
    }
    if !report.restart_pending.is_empty() {
        let text = format!("waits for a restart: {}", report.restart_pending.join(", "));
        findings.add("warning", &check, &text, "restart PostgreSQL when it suits");
    }
}
