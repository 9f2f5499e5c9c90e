//! Checking the users' lines for `pg_hba.conf`.
//!
//! Everybody who comes through the ports has a member's address. A line that admits a member's
//! address without a proof admits everybody.

use std::net::IpAddr;

use super::hba::HbaAddress;

/// A user's line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HbaError {
    /// Not a line of `pg_hba.conf`.
    #[error("hba line `{line}` is not understood: {reason}")]
    Malformed {
        /// The line.
        line: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Admits without a proof.
    #[error(
        "hba line `{line}` is refused: method `{method}` for members' addresses would admit \
         everybody who connects through the ports; use scram-sha-256 or cert"
    )]
    Weak {
        /// The line.
        line: String,
        /// Its method.
        method: String,
    },
}

/// Methods that prove nothing about whoever is behind the proxy, or send a password in clear.
const WEAK: [&str; 3] = ["trust", "password", "ident"];

const HOST_KINDS: [&str; 5] = ["host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];

/// Checks the users' lines: well-formed, and no weak method for any member's address, nor over
/// the socket, where every user of the host would be admitted.
pub fn lint_hba(lines: &[String], members: &[HbaAddress]) -> Result<(), HbaError> {
    lines.iter().try_for_each(|line| lint_line(line, members))
}

fn lint_line(line: &str, members: &[HbaAddress]) -> Result<(), HbaError> {
    let malformed = |reason| HbaError::Malformed {
        line: line.to_owned(),
        reason,
    };
    if line.contains(['\n', '\r', '\0']) {
        return Err(malformed("one line is expected"));
    }
    // Since version 14 it would swallow the line behind it, which may be one of pgha's.
    if line.trim_end().ends_with('\\') {
        return Err(malformed("it must not continue on the next line"));
    }
    let fields = fields(line).ok_or_else(|| malformed("a quote is not closed"))?;
    let Some(kind) = fields.first() else {
        return Ok(());
    };
    let (method, reaches_members) = match kind.text.as_str() {
        "local" => (fields.get(3), true),
        kind if HOST_KINDS.contains(&kind) => {
            let address = fields
                .get(3)
                .ok_or_else(|| malformed("the address is missing"))?;
            let mask = fields
                .get(4)
                .and_then(|field| field.text.parse::<IpAddr>().ok());
            let method = fields.get(if mask.is_some() { 5 } else { 4 });
            (method, reaches(address, mask, members))
        }
        _ => {
            return Err(malformed(
                "it begins with none of local, host, hostssl, hostnossl, hostgssenc, hostnogssenc",
            ));
        }
    };
    let method = &method
        .ok_or_else(|| malformed("the method is missing"))?
        .text;
    if reaches_members && WEAK.contains(&method.to_ascii_lowercase().as_str()) {
        return Err(HbaError::Weak {
            line: line.to_owned(),
            method: method.clone(),
        });
    }
    Ok(())
}

fn reaches(address: &Field, mask: Option<IpAddr>, members: &[HbaAddress]) -> bool {
    // Each of these words includes the member's own address.
    if !address.quoted && ["all", "samehost", "samenet"].contains(&address.text.as_str()) {
        return true;
    }
    let text = match mask {
        Some(mask) => format!("{}/{}", address.text, ones(mask)),
        None => address.text.clone(),
    };
    match text.parse::<HbaAddress>() {
        Ok(network @ HbaAddress::Network { .. }) => {
            is_loopback(&network) || members.iter().any(|member| member.overlaps(&network))
        }
        // Names and suffixes can be made to be anybody.
        Ok(HbaAddress::Name(_)) | Err(_) => true,
    }
}

/// The proxy dials the local PostgreSQL, over the loopback too.
fn is_loopback(network: &HbaAddress) -> bool {
    let loopbacks = [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    loopbacks.into_iter().any(|address| {
        let prefix = if address.is_ipv4() { 8 } else { 128 };
        network.overlaps(&HbaAddress::Network { address, prefix })
    })
}

fn ones(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(v4) => v4.to_bits().leading_ones(),
        IpAddr::V6(v6) => v6.to_bits().leading_ones(),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Field {
    text: String,
    quoted: bool,
}

/// Splits a line as PostgreSQL does: white space ends a field, quotes keep it together, `#`
/// begins a comment. Commas join list elements, with white space after them. `None` where a quote
/// is left open.
fn fields(line: &str) -> Option<Vec<Field>> {
    let mut fields: Vec<Field> = Vec::new();
    let mut current: Option<Field> = None;
    let mut in_quote = false;
    let mut after_comma = false;
    for c in line.chars() {
        if !in_quote && c == '#' {
            break;
        }
        if !in_quote && c.is_whitespace() {
            if !after_comma {
                fields.extend(current.take());
            }
            continue;
        }
        after_comma = !in_quote && c == ',';
        let field = current.get_or_insert_with(|| Field {
            text: String::new(),
            quoted: false,
        });
        if c == '"' {
            in_quote = !in_quote;
            field.quoted = true;
        } else {
            field.text.push(c);
        }
    }
    fields.extend(current);
    (!in_quote).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lint(line: &str) -> Result<(), HbaError> {
        let members = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|text| text.parse().unwrap());
        lint_hba(&[line.to_owned()], &members)
    }

    #[test]
    fn refuses_weak_methods_for_members_addresses() {
        for line in [
            "host all all all trust",
            "host all all 0.0.0.0/0 trust",
            "host all all 10.0.0.0/24 trust",
            "host all all 10.0.0.0 255.255.255.0 trust",
            "host all all 10.0.0.2/32 ident",
            "hostssl app app samenet password",
            "host all all samehost trust # the proxy",
            "host all all 127.0.0.1/32 trust",
            "host all all ::1/128 trust",
            "host all all .example.org trust",
            "host all all gateway trust",
            "host \"all\", x all 10.0.0.0/8 \"trust\"",
            "local all all trust",
        ] {
            assert!(
                matches!(lint(line), Err(HbaError::Weak { .. })),
                "{line}: {:?}",
                lint(line)
            );
        }
    }

    #[test]
    fn accepts_what_proves_something_or_is_elsewhere() {
        for line in [
            "",
            "# a comment",
            "host all all 0.0.0.0/0 scram-sha-256",
            "hostssl all all all cert clientcert=verify-full",
            "host all all 192.168.7.0/24 trust",
            "host all all 192.168.7.0 255.255.255.0 trust",
            "host all all all reject",
            "host all all all md5",
            "local all app peer",
        ] {
            assert_eq!(lint(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in [
            "include /etc/other",
            "@file",
            "host all all",
            "host all all all",
            "local all all",
            "host \"all x y z",
            "host all all all\ntrust",
            "# x \\",
        ] {
            assert!(
                matches!(lint(line), Err(HbaError::Malformed { .. })),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_line_is_judged(line in "\\PC*") {
            let _ = lint(&line);
        }

        #[test]
        fn any_network_around_a_member_is_seen(prefix in 0u8..=32, member in 1u8..=3) {
            let line = format!("host all all 10.0.0.{member}/{prefix} trust");
            prop_assert!(lint(&line).is_err());
        }
    }
}
