//! Generated `pg_hba.conf` and `pg_ident.conf` (manual, 21.1 and 21.2).

use std::fs;
use std::net::IpAddr;
use std::str::FromStr;

use super::hba_lint::{HbaError, lint_hba};
use super::quote::{QuoteError, quote_hba, refuse_control};
use crate::Layout;
use crate::files::{At, FileError, write_atomically};

/// An address as `pg_hba.conf` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HbaAddress {
    /// All addresses whose first `prefix` bits agree.
    Network {
        /// The network's address.
        address: IpAddr,
        /// How many bits count.
        prefix: u8,
    },
    /// A host name; PostgreSQL resolves it both ways at each login.
    Name(String),
}

/// Not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address: expected an IP address, a network such as 10.0.0.0/24, or a host name"
)]
pub struct HbaAddressError(String);

impl FromStr for HbaAddress {
    type Err = HbaAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || HbaAddressError(text.to_owned());
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let prefix = prefix.parse().map_err(|_| wrong())?;
            return if prefix <= bits(address) {
                Ok(Self::Network { address, prefix })
            } else {
                Err(wrong())
            };
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Network {
                address,
                prefix: bits(address),
            });
        }
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || text.starts_with('.') || !text.chars().all(good) {
            return Err(wrong());
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl HbaAddress {
    /// As one field of `pg_hba.conf`.
    fn field(&self) -> String {
        match self {
            Self::Network { address, prefix } => format!("{address}/{prefix}"),
            // Quoted, a host that is called `all` is a host.
            Self::Name(name) => format!("\"{name}\""),
        }
    }

    /// Whether some address is in both. A name may be anywhere.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Network {
                    address: a,
                    prefix: p,
                },
                Self::Network {
                    address: b,
                    prefix: q,
                },
            ) => a.is_ipv4() == b.is_ipv4() && leading(*a, *p.min(q)) == leading(*b, *p.min(q)),
            (Self::Name(_), _) | (_, Self::Name(_)) => true,
        }
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn leading(address: IpAddr, prefix: u8) -> u128 {
    let (value, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    value.checked_shr(width - u32::from(prefix)).unwrap_or(0)
}

/// What the generated files are made of.
#[derive(Clone, Debug)]
pub struct HbaOptions {
    /// The operating system user that is the superuser over the socket.
    pub system_user: String,
    /// The superuser.
    pub superuser: String,
    /// The replication role.
    pub replication_user: String,
    /// Where the members are: replication comes from there.
    pub members: Vec<HbaAddress>,
    /// Whether logins from other hosts are admitted (`postgres.direct`). They pass no gate.
    pub direct: bool,
    /// The users' own lines.
    pub user_lines: Vec<String>,
}

/// Why the files were not written.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A user's line is refused.
    #[error(transparent)]
    Line(#[from] HbaError),
    /// A name does not fit.
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

/// Writes both files. They act at the next start or reload.
pub fn write_authentication(
    layout: &Layout,
    options: &HbaOptions,
) -> Result<(), AuthenticationError> {
    fs::create_dir_all(&layout.conf_dir).at("create", &layout.conf_dir)?;
    write_atomically(&layout.hba_file(), options.render_hba()?.as_bytes())?;
    write_atomically(&layout.ident_file(), options.render_ident()?.as_bytes())?;
    Ok(())
}

impl HbaOptions {
    /// The first line that matches decides, so pgha's own come first: no line of a user can lock
    /// it out, or let its replication role in from elsewhere.
    fn render_hba(&self) -> Result<String, AuthenticationError> {
        lint_hba(&self.user_lines, &self.members)?;
        let superuser = quote_hba(&self.superuser)?;
        let replication = quote_hba(&self.replication_user)?;
        let mut lines = vec![
            "# Written by pgha and replaced at every change.".to_owned(),
            format!("local all,replication {superuser} peer map=pgha"),
        ];
        for address in &self.members {
            let address = address.field();
            lines.push(format!(
                "host replication {replication} {address} scram-sha-256"
            ));
            // pg_rewind reads files through an ordinary session.
            lines.push(format!(
                "host \"postgres\" {replication} {address} scram-sha-256"
            ));
        }
        lines.push(format!("local all,replication {replication} reject"));
        lines.push(format!("host all,replication {replication} all reject"));
        lines.push("# The users' own lines.".to_owned());
        for line in &self.user_lines {
            lines.push(refuse_control(line)?.to_owned());
        }
        lines.push("# What remains.".to_owned());
        lines.push("local all all peer map=pgha".to_owned());
        lines.push("host all all samehost scram-sha-256".to_owned());
        if self.direct {
            lines.push("host all all all scram-sha-256".to_owned());
        }
        Ok(lines.join("\n") + "\n")
    }

    fn render_ident(&self) -> Result<String, QuoteError> {
        Ok(format!(
            "# Written by pgha and replaced at every change.\npgha {} {}\n",
            quote_hba(&self.system_user)?,
            quote_hba(&self.superuser)?
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(direct: bool, user_lines: &[&str]) -> HbaOptions {
        HbaOptions {
            system_user: "postgres".into(),
            superuser: "postgres".into(),
            replication_user: "pgha_replication".into(),
            members: vec!["10.0.0.1".parse().unwrap(), "n2.example".parse().unwrap()],
            direct,
            user_lines: user_lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn own_lines_come_before_the_users() {
        let text = options(false, &["hostssl app app 192.168.0.0/16 cert"])
            .render_hba()
            .unwrap();
        let at = |needle: &str| {
            text.find(needle)
                .unwrap_or_else(|| panic!("{needle} in {text}"))
        };
        assert!(at("host replication \"pgha_replication\" 10.0.0.1/32") < at("hostssl app"));
        assert!(at("\"n2.example\"") < at("all reject"));
        assert!(at("all reject") < at("hostssl app"));
        assert!(at("hostssl app") < at("samehost"));
        assert!(!text.contains("host all all all"));
        assert!(
            options(true, &[])
                .render_hba()
                .unwrap()
                .contains("host all all all scram-sha-256")
        );
    }

    #[test]
    fn a_refused_line_refuses_the_file() {
        assert!(
            options(false, &["host all all all trust"])
                .render_hba()
                .is_err()
        );
        assert!(
            options(false, &["local x x peer\nhost all all all trust"])
                .render_hba()
                .is_err()
        );
    }

    #[test]
    fn addresses() {
        for text in [
            "10.0.0.1",
            "10.0.0.0/8",
            "::1",
            "[fe80::1]",
            "fd00::/8",
            "n1",
            "n1.example.org",
        ] {
            assert!(text.parse::<HbaAddress>().is_ok(), "{text}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "a b",
            "x/8",
            ".example",
            "a\"b",
            "n1:5432",
        ] {
            assert!(text.parse::<HbaAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_of_networks() {
        let overlaps = |a: &str, b: &str| {
            a.parse::<HbaAddress>()
                .unwrap()
                .overlaps(&b.parse().unwrap())
        };
        assert!(overlaps("10.0.0.0/8", "10.1.2.3"));
        assert!(overlaps("10.1.2.3", "10.0.0.0/8"));
        assert!(overlaps("0.0.0.0/0", "10.1.2.3"));
        assert!(!overlaps("10.0.0.0/24", "10.0.1.0/24"));
        assert!(!overlaps("::/0", "10.0.0.1"));
        assert!(overlaps("::/0", "fd00::1"));
    }
}
