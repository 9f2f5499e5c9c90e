//! Where a member is reached.

use pgha_core::Addresses;

use super::field::{FieldError, text};
use crate::v1;

impl From<&Addresses> for v1::Addresses {
    fn from(addresses: &Addresses) -> Self {
        Self {
            raft: addresses.raft.clone(),
            postgres: addresses.postgres.clone(),
            http: addresses.http.clone(),
            proxy_read_write: addresses.proxy_read_write.clone(),
            proxy_read_only: addresses.proxy_read_only.clone(),
        }
    }
}

impl TryFrom<&v1::Addresses> for Addresses {
    type Error = FieldError;

    fn try_from(addresses: &v1::Addresses) -> Result<Self, FieldError> {
        // A witness has no PostgreSQL and serves no applications.
        let optional = |field, value: &str| match value {
            "" => Ok(String::new()),
            value => address(field, value),
        };
        Ok(Self {
            raft: address("addresses.raft", &addresses.raft)?,
            postgres: optional("addresses.postgres", &addresses.postgres)?,
            http: optional("addresses.http", &addresses.http)?,
            proxy_read_write: optional("addresses.proxy_read_write", &addresses.proxy_read_write)?,
            proxy_read_only: optional("addresses.proxy_read_only", &addresses.proxy_read_only)?,
        })
    }
}

/// A `host:port`; an IPv6 host stands in brackets.
pub fn address(field: &'static str, value: &str) -> Result<String, FieldError> {
    let refused = || FieldError {
        field,
        value: format!("{:?}", value.chars().take(80).collect::<String>()),
        expected: "host:port",
    };
    let (host, port) = value.rsplit_once(':').ok_or_else(refused)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(refused)?,
        None if host.contains(':') => return Err(refused()),
        None => host,
    };
    text(field, bare).map_err(|_| refused())?;
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok(value.to_owned()),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["n1:7400", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(address("a", good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "n1",
            "n1:",
            "n1:0",
            "n1:65536",
            ":7400",
            "::1:7400",
            "[::1:7400",
            "a b:1",
        ] {
            let error = address("addresses.http", bad).unwrap_err();
            assert!(error.to_string().contains("addresses.http"), "{error}");
        }
        let witness = Addresses {
            raft: "n3:7400".to_owned(),
            ..Addresses::default()
        };
        let wire = v1::Addresses::from(&witness);
        assert_eq!(Addresses::try_from(&wire), Ok(witness));
        let nowhere = v1::Addresses::default();
        assert_eq!(
            Addresses::try_from(&nowhere).unwrap_err().field,
            "addresses.raft"
        );
    }
}
