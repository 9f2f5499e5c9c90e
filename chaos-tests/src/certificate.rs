//! A server certificate for the clients that use TLS.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::account::Account;

/// Certificate and key of PostgreSQL, the same on every member: the ports pass TLS through, so a
/// client that verifies names meets one certificate whoever is primary.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, readable by the server's account only, as PostgreSQL demands.
    pub key: PathBuf,
}

/// Every address that a member of a test may have.
const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.77.0.1,IP:10.77.0.2,\
                     IP:10.77.0.3,IP:10.77.0.4,IP:10.77.0.5";

impl Certificate {
    /// Has `openssl` make a self-signed one.
    pub fn make(directory: &Path, account: &Account) -> anyhow::Result<Self> {
        let made = Self {
            certificate: directory.join("server.crt"),
            key: directory.join("server.key"),
        };
        account.file(&made.key, b"", 0o600)?;
        let output = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", "/CN=pgha-chaos", "-addext", NAMES])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&made.key)
            .arg("-out")
            .arg(&made.certificate)
            .output()
            .context("`openssl` does not start: run deploy/dev/install.sh")?;
        anyhow::ensure!(
            output.status.success(),
            "openssl made no certificate: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        account.own(&made.key)?;
        account.own(&made.certificate)?;
        Ok(made)
    }

    /// The settings that make PostgreSQL use it.
    pub fn settings(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.display().to_string();
        vec![
            ("postgres.parameters.ssl".to_owned(), "on".to_owned()),
            (
                "postgres.parameters.ssl_cert_file".to_owned(),
                path(&self.certificate),
            ),
            (
                "postgres.parameters.ssl_key_file".to_owned(),
                path(&self.key),
            ),
        ]
    }
}
