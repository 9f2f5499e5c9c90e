//! The promises as each member judges them by what it knows: its doctor asks the functions of
//! `pgha_core::invariant` that the simulator asks after every step.

use anyhow::Context;
use serde::Deserialize;

use crate::cluster::Cluster;

/// What the doctor of every member judges where there is a primary.
const JUDGED: [&str; 4] = ["P1", "P4", "P5", "P9"];

#[derive(Debug, Deserialize)]
struct Finding {
    level: String,
    check: String,
    text: String,
}

/// Those that a member finds broken, in words. An error where one does not judge.
pub(super) async fn broken(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for name in cluster.names() {
        let ctl = cluster.ctl_of(&name)?;
        // Another problem makes it fail, and is not asked here.
        let answer = ctl.run(&["--output", "json", "doctor"]).await?;
        let findings: Vec<Finding> = serde_json::from_str(&answer.stdout)
            .with_context(|| format!("the doctor of {name}: {answer:?}"))?;
        broken.extend(judge(&name, &findings)?);
    }
    Ok(broken)
}

fn judge(name: &str, findings: &[Finding]) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for check in JUDGED {
        let found = findings.iter().find(|finding| finding.check == check);
        let found =
            found.with_context(|| format!("the doctor of {name} does not judge {check}"))?;
        if found.level != "ok" {
            broken.push(format!("{check}, by the doctor of {name}: {}", found.text));
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &str, level: &str) -> Finding {
        Finding {
            level: level.to_owned(),
            check: check.to_owned(),
            text: "two gates".to_owned(),
        }
    }

    #[test]
    fn a_broken_promise_is_told_and_one_that_is_not_judged_is_an_error() {
        let mut findings: Vec<Finding> = JUDGED.map(|check| finding(check, "ok")).into();
        findings.push(finding("disk", "problem"));
        assert!(judge("n1", &findings).unwrap().is_empty());
        findings[0] = finding("P1", "problem");
        let broken = judge("n1", &findings).unwrap();
        assert_eq!(broken, ["P1, by the doctor of n1: two gates"]);
        findings.remove(0);
        assert!(judge("n1", &findings).is_err());
    }
}
