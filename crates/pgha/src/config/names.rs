//! Names of clusters, members and roles.

use pgha_core::MemberName;

/// `pgha_t<timeline>_` with the largest timeline and a name of this length still is a slot name,
/// which PostgreSQL bounds at 63 bytes (manual, 27.2.6.1 "Querying and Manipulating Replication Slots").
const MEMBER_LENGTH_MAX: usize = 40;
const CLUSTER_LENGTH_MAX: usize = 63;
/// `NAMEDATALEN` - 1 (manual, 4.1.1 "Identifiers and Key Words").
const ROLE_LENGTH_MAX: usize = 63;

/// A member's name.
pub(super) fn parse_member(text: &str) -> Result<MemberName, String> {
    plain(text, MEMBER_LENGTH_MAX).map(MemberName::from)
}

/// A cluster's name.
pub(super) fn parse_cluster(text: &str) -> Result<String, String> {
    plain(text, CLUSTER_LENGTH_MAX).map(str::to_owned)
}

fn plain(text: &str, length_max: usize) -> Result<&str, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && text.len() <= length_max && text.chars().all(good) {
        return Ok(text);
    }
    Err(format!(
        "expected a letter or digit, then letters, digits, `.`, `_` and `-`, at most {length_max} in all"
    ))
}

/// The name as it can stand in a replication slot's name: small letters, digits and underscores.
pub(super) fn slot_form(name: &MemberName) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    name.as_str().chars().map(allowed).collect()
}

/// A role's name. Names that begin with `pg_` are PostgreSQL's own (manual, `CREATE ROLE`).
pub(super) fn parse_role(text: &str) -> Result<String, String> {
    let good = |c: char| !c.is_control() && !matches!(c, '"' | '\'' | '\\');
    let fits = (1..=ROLE_LENGTH_MAX).contains(&text.len());
    if fits && text.chars().all(good) && !text.starts_with("pg_") && text.trim() == text {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected the name of a role: 1 to {ROLE_LENGTH_MAX} bytes, no quotes or backslashes, not beginning with pg_"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_where_they_are_used() {
        assert!(parse_member("db-1.example").is_ok());
        assert!(parse_member(&"a".repeat(MEMBER_LENGTH_MAX)).is_ok());
        let longest = format!("pgha_t{}_{}", u32::MAX, "a".repeat(MEMBER_LENGTH_MAX));
        assert!(longest.len() <= 63, "{longest}");
        let too_long = "a".repeat(MEMBER_LENGTH_MAX + 1);
        for name in ["", "-a", ".", "a b", "a=b", "a,b", "ä", "a/b", &too_long] {
            assert!(parse_member(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn roles_are_safe_to_quote() {
        assert!(parse_role("my role").is_ok());
        for name in [
            "",
            "pg_monitor",
            "a\"b",
            "a'b",
            "a\\b",
            "a\nb",
            " a",
            &"a".repeat(64),
        ] {
            assert!(parse_role(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn slot_form_has_only_what_slots_allow() {
        assert_eq!(slot_form(&"Db-1.Example".into()), "db_1_example");
    }
}
