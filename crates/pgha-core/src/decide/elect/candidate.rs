//! Who has answered the Revoke, and who of them may be promoted.

use super::super::plan::Reports;
use super::Input;
use crate::report::{MemberReport, Standing};
use crate::state::{Fitness, Revoked};

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
    match input.state.fitness(&report.name, &standing.position) {
        Fitness::OnLine => None,
        Fitness::Left { at } => Some(format!("it left the cluster's line at {at}")),
        Fitness::Unfit { why } => Some(why),
    }
}

fn has_diverged(input: &Input<'_>, report: &MemberReport, standing: &Standing) -> bool {
    let left = input.state.fitness(&report.name, &standing.position);
    report.system_identifier == input.state.system_identifier
        && matches!(left, Fitness::Left { .. })
}
