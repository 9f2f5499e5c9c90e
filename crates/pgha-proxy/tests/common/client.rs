//! A client that speaks in bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// A message with its header.
pub(crate) fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&((4 + content.len()) as u32).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// A packet without a type byte.
pub(crate) fn packet(code: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = ((8 + content.len()) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn startup() -> Vec<u8> {
    packet(196_608, b"user\0app\0\0")
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: soon(TcpStream::connect(address)).await.unwrap(),
        }
    }

    /// Connects and logs in.
    pub(crate) async fn login(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.send(&startup()).await;
        client.logged_in().await;
        client
    }

    pub(crate) async fn logged_in(&mut self) {
        assert_eq!(self.message().await.0, b'R');
        assert_eq!(self.message().await, (b'Z', b"I".to_vec()));
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn ssl_request(&mut self) {
        self.send(&packet(80_877_103, &[])).await;
    }

    pub(crate) async fn gss_request(&mut self) {
        self.send(&packet(80_877_104, &[])).await;
    }

    pub(crate) async fn cancel(&mut self, key: &[u8; 8]) {
        self.send(&packet(80_877_102, key)).await;
    }

    pub(crate) async fn byte(&mut self) -> u8 {
        soon(self.stream.read_u8()).await.unwrap()
    }

    pub(crate) async fn message(&mut self) -> (u8, Vec<u8>) {
        soon(self.read_message()).await.unwrap()
    }

    async fn read_message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let length = self.stream.read_u32().await? as usize;
        let mut content = vec![0; length - 4];
        self.stream.read_exact(&mut content).await?;
        Ok((kind, content))
    }

    /// Sends a query that the server answers with its text.
    pub(crate) async fn query(&mut self, text: &str) -> String {
        self.send(&message(b'Q', text.as_bytes())).await;
        let (kind, content) = self.message().await;
        assert_eq!(kind, b'D');
        assert_eq!(self.message().await.0, b'Z');
        String::from_utf8(content).unwrap()
    }

    /// The fields of an ErrorResponse, as text.
    pub(crate) async fn error(&mut self) -> String {
        let (kind, content) = self.message().await;
        assert_eq!(kind, b'E', "{}", String::from_utf8_lossy(&content));
        String::from_utf8(content).unwrap()
    }

    /// All that still comes, and how it ends: `Ok` for a proper close.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = soon(self.stream.read_to_end(&mut bytes)).await;
        (bytes, end.map(|_| ()))
    }

    /// The other side closed, properly and without a word.
    pub(crate) async fn closed(&mut self) {
        let (bytes, end) = self.rest().await;
        assert_eq!(bytes, b"");
        assert!(end.is_ok(), "{end:?}");
    }

    /// The other side reset the connection, without a word.
    pub(crate) async fn reset(&mut self) {
        let (bytes, end) = self.rest().await;
        assert_eq!(String::from_utf8_lossy(&bytes), "");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
