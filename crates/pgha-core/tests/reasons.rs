//! The documented list of reasons is the list in the code.

use pgha_core::Reason;

#[test]
fn the_document_has_every_reason_and_no_other() {
    let document = include_str!("../../../docs/reasons.md");
    let (_, rest) = document
        .split_once("<!-- reasons: begin")
        .expect("the list begins");
    let (list, _) = rest.split_once("<!-- reasons: end").expect("the list ends");
    let documented: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .collect();
    let expected: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| format!("{}` | {} |", reason.code(), reason.sentence()))
        .collect();
    assert_eq!(documented, expected);
}
