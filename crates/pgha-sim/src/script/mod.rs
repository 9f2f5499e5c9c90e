//! Scripts: faults at chosen moments, with what follows written down and reviewed.
//!
//! A script is a text file. Lines that begin with `#` say which outage it stands for, lines that begin
//! with `> ` are orders, and the indented lines below an order are what it led to. Running a script
//! gives the same text back, with what happened this time.

mod damage;
mod order;
mod parse;
mod people;
mod play;

use crate::script::parse::Line;
use crate::script::play::Stage;

/// A script that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

/// Runs a script; the text that it should be.
///
/// # Errors
///
/// An order that does not exist, or a member that does not.
pub fn play(text: &str, tracing: bool) -> Result<String, ScriptError> {
    let mut stage: Option<Stage> = None;
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| ScriptError {
            line: number + 1,
            what,
        };
        match parse::line(line).map_err(wrong)? {
            Line::Told => continue,
            Line::Text => {}
            Line::Cluster { seed, shape } => stage = Some(Stage::new(seed, shape, tracing)),
            Line::Order(order) => {
                let needed = "an order before `> cluster members N seed S`";
                let stage = stage.as_mut().ok_or_else(|| wrong(needed.to_owned()))?;
                out.push_str(line);
                out.push('\n');
                for told in stage.carry_out(order).map_err(wrong)? {
                    out.push_str("    ");
                    out.push_str(&told);
                    out.push('\n');
                }
                continue;
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    Ok(out)
}
