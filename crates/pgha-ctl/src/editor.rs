//! Lets the user edit a text in the editor of their choice.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use crate::error::CtlError;

/// The text after the user has edited it.
pub(crate) fn edit(text: &str) -> Result<String, CtlError> {
    let failed =
        |error: io::Error| CtlError::Refused(format!("cannot edit: {error}; nothing was changed"));
    let mut file = tempfile::Builder::new()
        .prefix("pgha-settings-")
        .tempfile()
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let editor = ["VISUAL", "EDITOR"].iter().find_map(std::env::var_os);
    // The variable may hold arguments (`code --wait`), so the shell takes it apart.
    let status = Command::new("sh")
        .args(["-c", "exec $PGHA_CTL_EDITOR \"$1\"", "sh"])
        .arg(file.path())
        .env("PGHA_CTL_EDITOR", editor.unwrap_or_else(|| "vi".into()))
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(CtlError::Refused(format!(
            "the editor ended with {status}; nothing was changed"
        )));
    }
    // By name: many editors write a new file in the place of the old one.
    fs::read_to_string(file.path()).map_err(failed)
}
