//! The health checks and metrics, asked as a load balancer asks.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::netns::{self, Namespace};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Status code and body.
#[derive(Debug, Clone)]
pub struct Response {
    /// 200, 503 ...
    pub status: u16,
    /// All of it.
    pub body: String,
}

/// One GET over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Response> {
    get_from(None, address, path).await
}

/// The same from where a client sits.
pub async fn get_from(
    namespace: Option<&Namespace>,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<Response> {
    ask("GET", namespace, address, path).await
}

/// By another method than GET.
pub async fn ask(
    method: &str,
    namespace: Option<&Namespace>,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<Response> {
    let exchange = async {
        let mut stream = netns::stream(namespace, address, ANSWER_WITHIN).await?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = tokio::time::timeout(ANSWER_WITHIN, exchange)
        .await
        .with_context(|| format!("{address}{path} is silent"))?
        .with_context(|| format!("{address}{path}"))?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("no end of the headers")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    Ok(Response {
        status: status.with_context(|| head.to_owned())?,
        body: body.to_owned(),
    })
}

/// The value of the first sample of that name (Prometheus text format).
pub fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .find(|(sample, _)| sample.split('{').next() == Some(name))
        .and_then(|(_, value)| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_whole_name() {
        let text = "# HELP pgha_raft_id x\npgha_raft_id_max 9\npgha_raft_id{member=\"n1\"} 4\n";
        assert_eq!(metric(text, "pgha_raft_id"), Some(4.0));
        assert_eq!(metric(text, "pgha_raft"), None);
    }
}
