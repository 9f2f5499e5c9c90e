//! What programs see: names and order of the fields are the contract of `--output json`.

pub(crate) mod history;
pub(crate) mod quorum;
pub(crate) mod status;

use pgha_core::Lsn;

/// A position as PostgreSQL prints it.
fn lsn(position: Option<u64>) -> Option<String> {
    position.map(|position| Lsn(position).to_string())
}

/// Bytes for people: three digits are enough to act on.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && scaled < 100.0);
    format!("{scaled:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short() {
        for (bytes, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (16 << 20, "16.0 MiB"),
            (300 << 20, "300 MiB"),
        ] {
            assert_eq!(human_bytes(bytes), wanted);
        }
    }
}
