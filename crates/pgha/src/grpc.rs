//! The gRPC port, served by a thread of its own: a renewal of a lease is answered there and then,
//! everything else is carried to the runtime that does the work.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context as _;
use pgha_proto::v1::admin_server::AdminServer;
use pgha_proto::v1::lease_server::LeaseServer;
use pgha_proto::v1::member_server::MemberServer;
use pgha_raft::RaftService;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::lease::LeaseSlot;
use crate::services::{AdminService, MemberService, OnMain};

/// Finds connections of hosts that are gone, to close them; nothing waits for that.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Everything but snapshots is small, and those come in pieces.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const STREAMS_MAX: u32 = 256;

/// What is served.
pub(crate) struct Services {
    pub(crate) raft: RaftService,
    pub(crate) lease: LeaseSlot,
    pub(crate) member: MemberService,
    pub(crate) admin: AdminService,
}

/// Starts the thread.
pub(crate) fn start(listener: TcpListener, services: Services) -> anyhow::Result<()> {
    let main = tokio::runtime::Handle::current();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new().name("lease-grantor".to_owned());
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let incoming = TcpListenerStream::new(listener).map_nodelay();
        let member =
            MemberServer::new(services.member).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let admin = AdminServer::new(services.admin).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_MAX)
            .add_service(LeaseServer::new(services.lease))
            .add_service(OnMain::new(services.raft.server(), main.clone()))
            .add_service(OnMain::new(member, main.clone()))
            .add_service(OnMain::new(admin, main))
            .serve_with_incoming(incoming)
            .await
            .context("the gRPC port failed")
    };
    thread.spawn(move || {
        // Where the kernel refuses, it is as before.
        let _ = pgha_guard::run_soon();
        if let Err(error) = runtime.block_on(serve) {
            tracing::error!("{error:#}");
            std::process::exit(1);
        }
    })?;
    Ok(())
}

/// Accepted connections answer at once: a renewal is one small packet.
trait Nodelay {
    fn map_nodelay(
        self,
    ) -> impl futures_util::Stream<Item = std::io::Result<tokio::net::TcpStream>>;
}

impl Nodelay for TcpListenerStream {
    fn map_nodelay(
        self,
    ) -> impl futures_util::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
        futures_util::StreamExt::map(self, |accepted| {
            accepted.inspect(|stream| {
                // It works without, only slower.
                let _ = stream.set_nodelay(true);
            })
        })
    }
}
