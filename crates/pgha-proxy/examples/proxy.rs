//! A read-write port before one PostgreSQL, renewed the way a lease thread does: for benchmarks.
//!
//! `proxy LISTEN POSTGRES [WORKERS]`

use std::sync::Arc;
use std::time::Duration;

use pgha_core::gate::GateSetting;
use pgha_core::{ClusterId, Epoch, MemberName};
use pgha_proxy::{
    BootClock, Clock, ClusterTag, Gate, Limits, Ports, PortsConfig, ReadOnlyAddress,
    ReadOnlyAdmission, ReadOnlyTarget, Route, Routes, Wiring,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const EPOCH: Epoch = Epoch(1);
const RENEWAL: Duration = Duration::from_millis(150);
const HOLD: Duration = Duration::from_millis(750);
const CLOSE: Duration = Duration::from_millis(1000);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, listen, postgres, rest @ ..] = arguments.as_slice() else {
        return Err("usage: proxy LISTEN POSTGRES [WORKERS]".into());
    };
    let mut limits = Limits::default();
    if let Some(workers) = rest.first() {
        limits.workers = workers.parse()?;
    }
    let config = PortsConfig { limits };
    let ports = Ports::bind(listen.parse()?, "127.0.0.1:0".parse()?, config)?;
    let postgres = postgres.parse()?;
    let (_routes_writer, routes) = watch::channel(Arc::new(Routes {
        epoch: EPOCH,
        read_write: Route::Local { postgres },
        read_only: vec![ReadOnlyTarget {
            member: MemberName::from("n1"),
            address: ReadOnlyAddress::Local { postgres },
            weight: 1,
        }],
        hold_timeout: Duration::from_secs(10),
        unfit_to_read: Vec::new(),
        fallback_to_primary: true,
    }));
    let gate = Arc::new(Gate::new());
    let now = BootClock.now();
    gate.set(GateSetting {
        epoch: EPOCH,
        hold_at: now + HOLD,
        close_at: now + CLOSE,
    })?;
    let renewed = Arc::clone(&gate);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(RENEWAL);
            let now = BootClock.now();
            if let Err(error) = renewed.extend(EPOCH, now + HOLD, now + CLOSE) {
                eprintln!("{error}");
                std::process::exit(1);
            }
        }
    });
    let admission = Arc::new(ReadOnlyAdmission::new());
    admission.set(EPOCH, true)?;
    let wiring = Wiring {
        gate,
        admission,
        routes,
        cluster: Arc::new(ClusterTag::of(&ClusterId::from("bench")).into()),
    };
    ports.run(wiring, CancellationToken::new()).await?;
    Ok(())
}
