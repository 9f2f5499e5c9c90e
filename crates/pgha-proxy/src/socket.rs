//! Socket options, and the calls that need them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Waiting connections beyond those accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// A client that vanished without a word is noticed after about two minutes.
const CLIENT_IDLE: Duration = Duration::from_secs(60);
const CLIENT_INTERVAL: Duration = Duration::from_secs(10);
const CLIENT_PROBES: u32 = 6;
/// Another member that vanished is noticed after about ten seconds, idle or not.
const MEMBER_IDLE: Duration = Duration::from_secs(4);
const MEMBER_INTERVAL: Duration = Duration::from_secs(2);
const MEMBER_PROBES: u32 = 3;
const MEMBER_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// A listening socket. Linux gives its options to the accepted ones, which saves a handful of
/// system calls for each connection.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive(CLIENT_IDLE, CLIENT_INTERVAL, CLIENT_PROBES))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connects to the local PostgreSQL.
pub(crate) async fn connect_local(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    connect(address, limit).await
}

/// Connects to another member, whose silence is to be noticed soon.
pub(crate) async fn connect_member(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = connect(address, limit).await?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive(MEMBER_IDLE, MEMBER_INTERVAL, MEMBER_PROBES))?;
    socket.set_tcp_user_timeout(Some(MEMBER_UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    match timeout(limit, socket.connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("silent for {limit:?}"),
        )),
    }
}

/// Makes the coming close a reset that discards what the kernel has not sent yet: replies that
/// were not delivered when the gate shut must not be delivered afterwards.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::warn!(%error, "cannot set SO_LINGER: the session is closed without a reset");
    }
}

fn keepalive(idle: Duration, interval: Duration, probes: u32) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes)
}
