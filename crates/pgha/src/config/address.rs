//! Addresses: what a socket binds, and what others are told.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where something is reached: a name or an IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

const HOST_PORT: &str = "expected HOST:PORT with a port from 1 to 65535, for example db1.example.com:7400 or [2001:db8::1]:7400";
const IP_PORT: &str =
    "expected IP:PORT with a port from 1 to 65535, for example 0.0.0.0:7400 or [::]:7400";

impl HostPort {
    /// The address of `host`, which was parsed already, at another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }

    /// The host, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The IP address, where the host is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether only this very host can mean it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| HOST_PORT.to_owned())?;
        let port = parse_port(port).ok_or_else(|| HOST_PORT.to_owned())?;
        let host = parse_host(host).ok_or_else(|| HOST_PORT.to_owned())?;
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            return Err(format!(
                "nobody can reach {host}: give the address that others use"
            ));
        }
        Ok(Self { host, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    // `u16::from_str` takes a plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Equal hosts get equal texts: names in small letters, IPv6 addresses in their short form.
fn parse_host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    // Names of containers have underscores, against RFC 1123 section 2.1 and in spite of it in use.
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let fits = (1..=253).contains(&text.len()) && text.chars().all(good);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    // All digits and dots can only mean an IPv4 address (RFC 1123, 2.1).
    let numeric = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let sound = fits && starts_well && (!numeric || text.parse::<IpAddr>().is_ok());
    sound.then(|| text.to_ascii_lowercase())
}

/// An address to bind.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .ok()
        .filter(|address| address.port() != 0)
        .ok_or_else(|| IP_PORT.to_owned())
}

/// Whether two sockets cannot be bound at the same time.
pub(super) fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let any = left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() == right.port() && (any || left.ip() == right.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_normalised() {
        for (text, wanted) in [
            ("DB1.Example.com:7400", "db1.example.com:7400"),
            ("[2001:DB8:0:0::1]:1", "[2001:db8::1]:1"),
            ("10.0.0.1:65535", "10.0.0.1:65535"),
            ("pg_node_1:5432", "pg_node_1:5432"),
        ] {
            assert_eq!(text.parse::<HostPort>().expect(text).to_string(), wanted);
        }
    }

    #[test]
    fn refuses_what_nobody_can_dial() {
        for text in [
            "",
            ":",
            "db1",
            "db1:",
            ":7400",
            "db1:0",
            "db1:65536",
            "db1:+1",
            "db1:x",
            "db 1:1",
            "-db:1",
            "2001:db8::1:7400",
            "[2001:db8::1]",
            "[db1]:1",
            "u@db1:1",
            "http://db1:1",
            "1.2.3:1",
            "256.0.0.1:1",
            "0.0.0.0:7400",
            "[::]:7400",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_wildcard_collides_with_every_address_of_its_port() {
        let address = |text: &str| parse_listen(text).expect(text);
        assert!(collide(address("0.0.0.0:1"), address("127.0.0.1:1")));
        assert!(collide(address("127.0.0.1:1"), address("127.0.0.1:1")));
        assert!(!collide(address("127.0.0.2:1"), address("127.0.0.1:1")));
        assert!(!collide(address("0.0.0.0:1"), address("0.0.0.0:2")));
        for text in ["localhost:1", "0.0.0.0", "0.0.0.0:0", ":1"] {
            assert!(parse_listen(text).is_err(), "{text:?}");
        }
    }
}
