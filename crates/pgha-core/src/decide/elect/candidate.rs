//! Who has answered the Revoke, and who of them may be promoted.

use super::super::plan::Reports;
use super::Input;
use crate::StartKind;
use crate::lineage::Verdict;
use crate::report::{MemberReport, Standing};
use crate::state::Revoked;

/// A report, and whether its member may be promoted.
pub(super) struct Candidate<'a> {
    pub(super) report: &'a MemberReport,
    pub(super) standing: &'a Standing,
    pub(super) refused: Option<String>,
    /// It is refused for having left the line, from a timeline that is known.
    pub(super) diverged: bool,
}

pub(super) fn candidates<'a>(
    input: &Input<'_>,
    reports: &'a Reports<'_>,
    revoked: &Revoked,
) -> Vec<Candidate<'a>> {
    reports
        .all_fresh()
        .filter_map(|report| {
            let standing = report.standing.as_ref()?;
            let current = standing.epoch == input.state.epoch && standing.index == revoked.index;
            current.then(|| Candidate {
                report,
                standing,
                refused: unfit(input, report, standing),
                diverged: has_diverged(input, report, standing),
            })
        })
        .collect()
}

fn unfit(input: &Input<'_>, report: &MemberReport, standing: &Standing) -> Option<String> {
    if report.system_identifier != input.state.system_identifier {
        return Some("its data is of another cluster".to_owned());
    }
    if standing.former_primary {
        return None;
    }
    if input
        .state
        .members
        .get(&report.name)
        .is_none_or(|member| member.excluded)
    {
        return Some("it is excluded".to_owned());
    }
    match input.state.lineage.may_lead(&standing.position) {
        Verdict::OnLine => None,
        Verdict::Diverged { at } => Some(format!("it left the cluster's line at {at}")),
        Verdict::Impostor { .. } if is_own_attempt(input, report, standing) => None,
        Verdict::Impostor { why } => Some(why),
    }
}

/// Its promotion was interrupted between PostgreSQL's and the row that proves it. Nobody else was ever
/// to be on that timeline, so this is it; without this the last copy would be refused for ever.
fn is_own_attempt(input: &Input<'_>, report: &MemberReport, standing: &Standing) -> bool {
    let timeline = standing.position.timeline;
    let assigned = input.state.journal.iter().rev().any(|entry| {
        entry.timeline == Some(timeline)
            && entry.kind == Some(StartKind::Promotion)
            && entry.primary.as_ref() == Some(&report.name)
    });
    assigned && input.state.lineage.lacks_only_own_row(&standing.position)
}

fn has_diverged(input: &Input<'_>, report: &MemberReport, standing: &Standing) -> bool {
    let lineage = &input.state.lineage;
    report.system_identifier == input.state.system_identifier
        && lineage.path_to(standing.position.timeline).is_some()
        && matches!(
            lineage.may_lead(&standing.position),
            Verdict::Diverged { .. }
        )
}
