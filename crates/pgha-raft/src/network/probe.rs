//! Looks whether anybody listens where a silent member should.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a connection attempt tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The kernel there answers, and nobody listens: the process is gone.
    Gone,
    /// Somebody listens; whether it runs is another question.
    Listening,
    /// No answer: host, network or name may be at fault.
    Unknown,
}

/// Connects to `address` and leaves.
pub(crate) async fn probe(address: &str, deadline: Duration) -> Probe {
    match timeout(deadline, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Probe::Listening,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Probe::Gone,
        Ok(Err(_)) | Err(_) => Probe::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn tells_a_closed_port_from_an_open_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let second = Duration::from_secs(1);
        assert_eq!(probe(&address, second).await, Probe::Listening);
        drop(listener);
        assert_eq!(probe(&address, second).await, Probe::Gone);
        assert_eq!(probe("nowhere.invalid:1", second).await, Probe::Unknown);
    }
}
