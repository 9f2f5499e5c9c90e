//! Sizes as they are typed and shown.

pub(super) const SIZE: &str = "accepted is a number of bytes, or one with KiB, MiB, GiB or TiB";

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// As PostgreSQL writes them, whose units are powers of two too (manual, 20.1.1).
const POSTGRESQL_UNITS: [(&str, u64); 4] = [
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("kB", 1 << 10),
];

/// Reads `16MiB`, `64 KiB`, PostgreSQL's `16MB` for the same, or a number of bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = UNITS
        .iter()
        .chain(&POSTGRESQL_UNITS)
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size so that [`parse_size`] reads the same number.
pub fn format_size(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(
            || bytes.to_string(),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
}
