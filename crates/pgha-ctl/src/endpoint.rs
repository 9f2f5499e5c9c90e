//! Addresses of members.

use std::fmt;
use std::str::FromStr;

use tonic::transport::Uri;

/// Where a member's gRPC is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    uri: Uri,
}

impl Endpoint {
    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let parsed = format!("http://{text}").parse::<Uri>().ok().filter(|uri| {
            // Nothing but host and port: the authority is the whole text.
            let authority = uri.authority().map(|authority| authority.as_str());
            let host = uri.host().is_some_and(|host| !host.is_empty());
            let port = uri.port_u16().is_some_and(|port| port != 0);
            host && port && authority == Some(text) && !text.contains('@')
        });
        let uri = parsed.ok_or_else(|| {
            format!("`{text}` is not HOST:PORT, for example 10.0.0.1:7400 or [2001:db8::1]:7400")
        })?;
        Ok(Self { uri })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.uri
                .authority()
                .map_or("", |authority| authority.as_str()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_host_and_port_and_nothing_else() {
        for text in ["db1:7400", "10.0.0.1:1", "[::1]:7400", " db1:7400 "] {
            assert_eq!(
                text.parse::<Endpoint>().expect(text).to_string(),
                text.trim()
            );
        }
        for text in [
            "",
            "db1",
            "db1:",
            "db1:0",
            "db1:70000",
            ":7400",
            "http://db1:1",
            "db1:1/x",
            "u@db1:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }
}
