//! `pgha-ctl doctor`: what is wrong, or soon will be.

use std::fmt::Write;

use pgha_proto::v1;
use serde::Serialize;
use tokio::time::Instant;

use crate::error::CtlError;
use crate::output::Output;
use crate::session::{Client, Session, greet};

/// The level that makes the command fail.
const PROBLEM: &str = "problem";

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Finding {
    level: String,
    check: String,
    text: String,
    way_out: String,
}

pub(crate) async fn run(session: &Session, output: Output) -> Result<(), CtlError> {
    let question = |mut client: Client| async move { client.doctor(v1::DoctorRequest {}).await };
    let reply = session.ask(question).await?;
    let mut findings: Vec<Finding> = reply.findings.into_iter().map(Finding::from).collect();
    findings.extend(endpoints(session).await);
    output.print(&findings, |findings| text(findings))?;
    let problems = findings
        .iter()
        .filter(|finding| finding.level == PROBLEM)
        .count();
    if problems > 0 {
        return Err(CtlError::Refused(format!("{problems} problem(s) found")));
    }
    Ok(())
}

impl From<v1::Finding> for Finding {
    fn from(finding: v1::Finding) -> Self {
        let v1::Finding {
            level,
            check,
            text,
            way_out,
        } = finding;
        Self {
            level,
            check,
            text,
            way_out,
        }
    }
}

/// Only this side can tell which endpoints answer, and whether all are of one cluster.
async fn endpoints(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut cluster: Option<(String, String)> = None;
    for endpoint in session.endpoints() {
        match greet(endpoint, Instant::now() + session.timeout()).await {
            Ok(contact) => {
                let Some(id) = contact.status.cluster_id else {
                    continue;
                };
                let (first, first_id) =
                    cluster.get_or_insert_with(|| (endpoint.to_string(), id.clone()));
                if *first_id != id {
                    let text = format!("{first} belongs to cluster {first_id}, {endpoint} to {id}");
                    findings.push(finding(
                        PROBLEM,
                        text,
                        "correct --endpoint or PGHA_ENDPOINTS",
                    ));
                }
            }
            Err(failure) => {
                let text = format!("{endpoint} does not answer: {}", failure.text());
                findings.push(finding(
                    "warning",
                    text,
                    "start the member, or correct the endpoint",
                ));
            }
        }
    }
    findings
}

fn finding(level: &str, text: String, way_out: &str) -> Finding {
    let (level, check) = (level.to_owned(), "endpoints".to_owned());
    Finding {
        level,
        check,
        text,
        way_out: way_out.to_owned(),
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<8} {}: {}",
            finding.level, finding.check, finding.text
        );
        if !finding.way_out.is_empty() {
            let _ = writeln!(text, "{:<8} -> {}", "", finding.way_out);
        }
    }
    text
}
