//! The user's own lines for `pg_hba.conf`.

use pgha_postgres::config::{HbaAddress, lint_hba};

use super::error::ConfigError;
use super::listeners::Advertised;
use super::peers::PeerList;
use super::resolver::Resolver;

const KEY: &str = "postgres.hba";

/// The lines as they were given.
pub(super) fn parse(resolver: &mut Resolver) -> Result<Vec<String>, ConfigError> {
    let lines = resolver.items(KEY).unwrap_or_default().to_vec();
    // A line break inside an item would smuggle in a line that nobody checked.
    let bad = |line: &&String| line.chars().any(|c| c.is_control() && c != '\t');
    if let Some(line) = lines.iter().find(bad) {
        let what = format!("the item {line:?} has control characters; give one line an item");
        return Err(ConfigError::Refused { key: KEY, what });
    }
    resolver.note(KEY, lines.join(" | "));
    Ok(lines)
}

/// Everybody who comes through the ports has a member's address: no line may trust those.
pub(super) fn check(
    lines: &[String],
    peers: &PeerList,
    advertised: &Advertised,
) -> Result<(), ConfigError> {
    let own = [&advertised.raft, &advertised.postgres];
    let members = peers.iter().map(|(_, address)| address).chain(own);
    let refused = |what: String| ConfigError::Refused { key: KEY, what };
    let members = members.map(|address| address.host().parse::<HbaAddress>());
    let members = members
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(error.to_string()))?;
    lint_hba(lines, &members).map_err(|error| refused(error.to_string()))
}
