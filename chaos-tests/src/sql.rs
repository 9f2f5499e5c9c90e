//! Sessions of tokio-postgres, in plain or with TLS, from any network namespace, with deadlines.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{AsyncMessage, Client, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::netns::{self, Namespace};

/// No single question of a test takes longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where and as whom to connect.
#[derive(Clone)]
pub struct Target {
    /// A port of a member or its PostgreSQL.
    pub address: SocketAddr,
    /// Where the client sits.
    pub namespace: Option<Namespace>,
    /// The superuser's.
    pub password: String,
    /// Present where TLS is demanded.
    pub tls: Option<Tls>,
}

/// TLS that verifies the server against one certificate.
#[derive(Clone)]
pub struct Tls(MakeRustlsConnect);

/// Why there is no session. The load counts the three apart.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection at all.
    #[error("cannot connect to {0}: {1}")]
    Socket(SocketAddr, std::io::Error),
    /// The server refused, or broke off.
    #[error("{0} refused the session: {1}")]
    Refused(SocketAddr, tokio_postgres::Error),
    /// Held, or silent.
    #[error("{0} did not answer within {1:?}")]
    Silent(SocketAddr, Duration),
}

impl ConnectError {
    /// The SQLSTATE of a refusal by PostgreSQL or by the port.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(_, error) => error.code().map(|state| state.code()),
            Self::Socket(..) | Self::Silent(..) => None,
        }
    }
}

/// One session; closes with its owner.
pub struct Session {
    client: Client,
    notices: Arc<Mutex<Vec<(Instant, String)>>>,
    driver: tokio::task::JoinHandle<Option<tokio_postgres::Error>>,
}

impl Tls {
    /// Trusts exactly the certificate in that file.
    pub fn trusting(certificate: &Path) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).context("no PEM certificate")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(MakeRustlsConnect::new(config)))
    }
}

impl Target {
    /// Opens a session, or says within the time why not.
    pub async fn connect(&self, within: Duration) -> Result<Session, ConnectError> {
        tokio::time::timeout(within, self.open(within))
            .await
            .unwrap_or(Err(ConnectError::Silent(self.address, within)))
    }

    async fn open(&self, within: Duration) -> Result<Session, ConnectError> {
        let stream = self
            .stream(within)
            .await
            .map_err(|e| ConnectError::Socket(self.address, e))?;
        let mut config = tokio_postgres::Config::new();
        config
            .user("postgres")
            .dbname("postgres")
            .password(&self.password);
        config.application_name("pgha-chaos");
        let opened = match &self.tls {
            None => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                Session::start(&config, stream, NoTls).await
            }
            Some(Tls(tls)) => {
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                let host = self.address.ip().to_string();
                let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), &host)
                    .map_err(|e| ConnectError::Socket(self.address, std::io::Error::other(e)))?;
                Session::start(&config, stream, tls).await
            }
        };
        opened.map_err(|error| ConnectError::Refused(self.address, error))
    }

    /// A bare connection, for tests that speak the protocol themselves.
    pub async fn stream(&self, within: Duration) -> std::io::Result<TcpStream> {
        netns::stream(self.namespace.as_ref(), self.address, within).await
    }

    /// Sends a cancel request the way a session was opened; what it did is seen on the session.
    pub async fn cancel(&self, token: &tokio_postgres::CancelToken) {
        let within = Duration::from_secs(2);
        let request = async {
            let stream = self.stream(within).await.ok()?;
            match &self.tls {
                None => token.cancel_query_raw(stream, NoTls).await.ok(),
                Some(Tls(tls)) => {
                    let host = self.address.ip().to_string();
                    let mut tls = tls.clone();
                    let tls =
                        MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &host).ok()?;
                    token.cancel_query_raw(stream, tls).await.ok()
                }
            }
        };
        let _outcome = tokio::time::timeout(within, request).await;
    }

    /// One value of one row over a session of its own.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> anyhow::Result<T> {
        self.connect(Duration::from_secs(2)).await?.value(sql).await
    }

    /// Runs statements over a session of their own.
    pub async fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.connect(Duration::from_secs(2)).await?.run(sql).await
    }
}

impl Session {
    async fn start<T>(
        config: &tokio_postgres::Config,
        stream: TcpStream,
        tls: T,
    ) -> Result<Self, tokio_postgres::Error>
    where
        T: TlsConnect<TcpStream>,
        T::Stream: Send + 'static,
    {
        let (client, mut connection) = config.connect_raw(stream, tls).await?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notices);
        let driver = tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|cx| connection.poll_message(cx)).await? {
                    Ok(AsyncMessage::Notice(notice)) => {
                        let entry = (Instant::now(), notice.message().to_owned());
                        heard
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(entry);
                    }
                    Ok(_) => {}
                    Err(error) => return Some(error),
                }
            }
        });
        Ok(Self {
            client,
            notices,
            driver,
        })
    }

    /// The notices so far, with the time of their arrival.
    pub fn notices(&self) -> Vec<(Instant, String)> {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The client of tokio-postgres.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements as one simple query.
    pub async fn run(&self, sql: &str) -> anyhow::Result<()> {
        answered(sql, self.client.batch_execute(sql)).await
    }

    /// Rows of a statement.
    pub async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        answered(sql, self.client.query(sql, &[])).await
    }

    /// One value of one row.
    pub async fn value<T: FromSqlOwned>(&self, sql: &str) -> anyhow::Result<T> {
        let row = answered(sql, self.client.query_one(sql, &[])).await?;
        row.try_get(0).with_context(|| sql.to_owned())
    }

    /// Waits until the server or the port ends the session; the error it ended with, if any.
    pub async fn ended(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<Option<tokio_postgres::Error>> {
        let end = tokio::time::timeout(within, &mut self.driver).await;
        Ok(end.with_context(|| format!("the session still lives after {within:?}"))??)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn answered<T>(
    sql: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .with_context(|| format!("no answer within {ANSWER_WITHIN:?} to: {sql}"))?
        .with_context(|| sql.to_owned())
}
