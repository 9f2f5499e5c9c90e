//! Memory of idle and of blocked sessions. Sockets of this process are the kernel's memory, so
//! what grows here is the proxy's.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{Client, Rig, message, soon, startup, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

const SESSIONS: usize = 2000;
const BYTES_PER_SESSION_MAX: usize = 16 * 1024;
/// Each session has four descriptors in this process.
const FILES: u64 = 4 * SESSIONS as u64 + 500;

/// One measurement at a time.
static MEMORY: Mutex<()> = Mutex::const_new(());

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Logs in whoever comes, `count` times; owns nothing but sockets.
fn log_in(listener: &TcpListener, count: usize) -> Vec<TcpStream> {
    let mut hello = message(b'R', &[0; 4]);
    hello.extend(message(b'Z', b"I"));
    (0..count)
        .map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut vec![0; startup().len()]).unwrap();
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect()
}

fn open_session(port: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    stream.write_all(&startup()).unwrap();
    stream.read_exact(&mut [0; 15]).unwrap();
    stream
}

fn open_sessions(listener: &TcpListener, port: SocketAddr, count: usize) -> [Vec<TcpStream>; 2] {
    let listener = listener.try_clone().unwrap();
    let server = thread::spawn(move || log_in(&listener, count));
    let clients = (0..count).map(|_| open_session(port)).collect();
    [clients, server.join().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_costs_little() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, FILES.min(hard), hard).unwrap();
    assert!(
        hard >= FILES,
        "this test needs a limit of {FILES} open files, not {hard}"
    );
    let _alone = MEMORY.lock().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rig = Rig::start();
    rig.serve(1, listener.local_addr().unwrap());
    let port = rig.read_write;
    // Warm: threads, shared buffers and allocator arenas exist once, however many sessions.
    let _warm = open_sessions(&listener, port, 20);
    let before = resident_bytes();
    let sessions = open_sessions(&listener, port, SESSIONS);
    let sessions_now = 20 + SESSIONS as u64;
    until("all", || {
        rig.count(|stats| &stats.sessions_now) == sessions_now
    })
    .await;
    let each = resident_bytes().saturating_sub(before) / SESSIONS;
    println!("resident memory for each of {SESSIONS} idle sessions: {each} bytes");
    assert!(each < BYTES_PER_SESSION_MAX, "{each} bytes a session");
    rig.gate.close();
    for mut client in sessions.into_iter().next().unwrap() {
        assert!(
            client.read(&mut [0]).is_err(),
            "a session survived the gate"
        );
    }
    rig.stop().await;
}

/// 256 MiB toward a client that does not read yet: the server must be held back, then nothing may
/// be missing or out of order.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_its_server_back() {
    const TOTAL: usize = 256 << 20;
    const GROWTH_MAX: usize = 16 << 20;
    let _alone = MEMORY.lock().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start();
    rig.serve(1, listener.local_addr().unwrap());
    let mut client = Client::connect(rig.read_write).await;
    client.send(&startup()).await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    // Left unread, it would make the server's close a reset.
    soon(server.read_exact(&mut vec![0; startup().len()]))
        .await
        .unwrap();
    let before = resident_bytes();
    let pattern: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    let sending = pattern.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..TOTAL / sending.len() {
            server.write_all(&sending).await.unwrap();
        }
    });
    until("the first bytes", || rig.stats.bytes_to_client_total() > 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!sender.is_finished(), "the server was not held back");
    let growth = resident_bytes().saturating_sub(before);
    println!("growth with a blocked session: {growth} bytes");
    assert!(
        growth < GROWTH_MAX,
        "{growth} bytes for one blocked session"
    );

    let mut received = vec![0; pattern.len()];
    for round in 0..TOTAL / pattern.len() {
        soon(client.stream.read_exact(&mut received)).await.unwrap();
        assert!(received == pattern, "round {round} is damaged");
    }
    soon(sender).await.unwrap();
    assert!(resident_bytes().saturating_sub(before) < GROWTH_MAX);
    client.closed().await;
    rig.stop().await;
}
