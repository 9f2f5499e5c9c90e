//! A server that logs everybody in and answers each query with its own text.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::message;

/// How it treats new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Accepts encryption and closes at the next word.
    AcceptsEncryption,
    /// Demands a password, and logs in whoever sends one.
    Challenges,
    /// Logs in.
    Normal,
    /// Declines encryption, then logs in.
    DeclinesEncryption,
    /// Declines encryption, then closes instead of answering the startup message.
    DeclinesThenCloses,
    /// Closes after the first packet without an answer.
    Closes,
    /// Says that it is shutting down.
    ShutsDown,
    /// Accepts and says nothing.
    Silent,
}

#[derive(Default)]
struct Seen {
    packets: Mutex<Vec<Vec<u8>>>,
    queries: Mutex<Vec<String>>,
    connections: AtomicUsize,
    peers: Mutex<Vec<SocketAddr>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    manners: Arc<Mutex<Manners>>,
    /// Lets a query "wait" be answered.
    pub(crate) answer: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let manners = Arc::new(Mutex::new(manners));
        let answer = Arc::new(Notify::new());
        let serving = (Arc::clone(&seen), Arc::clone(&manners), Arc::clone(&answer));
        let task = tokio::spawn(async move {
            let (seen, manners, answer) = serving;
            while let Ok((stream, peer)) = listener.accept().await {
                seen.peers.lock().unwrap().push(peer);
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let manners = *manners.lock().unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, manners, &seen, &answer).await });
            }
        });
        Self {
            address,
            seen,
            manners,
            answer,
            task,
        }
    }

    pub(crate) fn behave(&self, manners: Manners) {
        *self.manners.lock().unwrap() = manners;
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// All first packets, without their lengths.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        self.seen.packets.lock().unwrap().clone()
    }

    /// Where the connections came from.
    pub(crate) fn peers(&self) -> Vec<SocketAddr> {
        self.seen.peers.lock().unwrap().clone()
    }

    pub(crate) fn queries(&self) -> Vec<String> {
        self.seen.queries.lock().unwrap().clone()
    }
}

async fn read_packet(stream: &mut TcpStream, seen: &Seen) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    let mut packet = vec![0; length - 4];
    stream.read_exact(&mut packet).await?;
    seen.packets.lock().unwrap().push(packet.clone());
    Ok(packet)
}

async fn serve(
    mut stream: TcpStream,
    manners: Manners,
    seen: &Seen,
    answer: &Notify,
) -> io::Result<()> {
    let mut packet = read_packet(&mut stream, seen).await?;
    let is_request = |packet: &[u8]| packet.len() == 4 && packet[..2] == 1234_u16.to_be_bytes();
    match manners {
        Manners::Normal => {}
        Manners::AcceptsEncryption => {
            stream.write_all(b"S").await?;
            return stream.read_u8().await.map(drop);
        }
        Manners::Challenges => {
            stream.write_all(&message(b'R', &[0, 0, 0, 3])).await?;
            stream.read_u8().await?;
            read_packet(&mut stream, seen).await?;
        }
        Manners::DeclinesEncryption | Manners::DeclinesThenCloses => {
            while is_request(&packet) {
                stream.write_all(b"N").await?;
                packet = read_packet(&mut stream, seen).await?;
            }
            if manners == Manners::DeclinesThenCloses {
                return Ok(());
            }
        }
        Manners::Closes => return Ok(()),
        Manners::ShutsDown => {
            let error = message(b'E', b"SFATAL\0C57P03\0Mshutting down\0\0");
            return stream.write_all(&error).await;
        }
        Manners::Silent => return std::future::pending().await,
    }
    if packet[..4] == 80_877_102_u32.to_be_bytes() {
        return Ok(());
    }
    let mut hello = message(b'R', &[0; 4]);
    hello.extend(message(b'Z', b"I"));
    stream.write_all(&hello).await?;
    answer_queries(stream, seen, answer).await
}

async fn answer_queries(mut stream: TcpStream, seen: &Seen, answer: &Notify) -> io::Result<()> {
    let mut state = b'I';
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await? as usize;
        let mut content = vec![0; length - 4];
        stream.read_exact(&mut content).await?;
        if kind == b'X' {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&content).into_owned();
        seen.queries.lock().unwrap().push(text.clone());
        match text.as_str() {
            "begin" => state = b'T',
            "commit" => state = b'I',
            "wait" => answer.notified().await,
            _ => {}
        }
        let mut reply = message(b'D', text.as_bytes());
        reply.extend(message(b'Z', &[state]));
        stream.write_all(&reply).await?;
    }
}
