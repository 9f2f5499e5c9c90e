//! Plain columns: readable on a narrow terminal, and by `grep` and `awk` through a pipe.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with these headings.
pub(crate) fn new(headings: &[&str]) -> Table {
    let mut table = Table::new();
    let width = if std::io::stdout().is_terminal() {
        table.width()
    } else {
        None
    };
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(if is_wrapped_to(width) {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        })
        .set_header(headings);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Cells are wrapped to the terminal only: a pipe gets each row on one line. A terminal of width 0
/// is one that nobody told its size (a serial console, `script`, `docker exec -t`); wrapped to it
/// each row would be a column of single letters.
fn is_wrapped_to(terminal_width: Option<u16>) -> bool {
    terminal_width.is_some_and(|columns| columns > 0)
}

/// The table as text that ends with a line break.
pub(crate) fn text(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A cell that is never empty, so that columns can be counted.
pub(crate) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_size_is_not_wrapped_to() {
        assert!(!is_wrapped_to(Some(0)));
        assert!(!is_wrapped_to(None));
        assert!(is_wrapped_to(Some(80)));
    }
}
