use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::netns::{POSTGRES, skipped};

#[test]
fn a_cut_host_is_silent_until_healed() -> anyhow::Result<()> {
    if skipped("a_cut_host_is_silent_until_healed") {
        return Ok(());
    }
    let network = Network::new(2)?;
    let at = SocketAddr::new(Network::address(0), 7000);
    let _listener = network.host(0).listen(at)?;
    let reach = || network.client().connect(at, Duration::from_millis(1500));
    reach()?;
    network.cut(Cut::Host(0))?;
    let refused = reach().expect_err("the bridge drops the frames");
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    // Two cuts at a time, mended one after the other.
    network.cut(Cut::Port(0, 7000))?;
    assert!(network.mend(Cut::Host(0))? > 0, "nothing was dropped");
    assert!(reach().is_err(), "the other cut went with the first");
    assert!(network.mend(Cut::Port(0, 7000))? > 0);
    assert!(network.mend(Cut::Port(0, 7000)).is_err());
    reach()?;
    network.cut(Cut::Loss(0, 99))?;
    let _lost_mostly = reach();
    assert!(network.mend(Cut::Loss(0, 99))? > 0);
    reach()?;
    // 7000 is not PostgreSQL's port, and a client is not host 1.
    network.cut(Cut::Replication(0, 1))?;
    reach()?;
    let postgres = SocketAddr::new(Network::address(0), POSTGRES);
    let _postgres = network.host(0).listen(postgres)?;
    network
        .client()
        .connect(postgres, Duration::from_millis(1500))?;
    let peer = |at| network.host(1).connect(at, Duration::from_millis(1500));
    peer(at)?;
    let refused = peer(postgres).expect_err("the bridge drops the frames");
    assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut);
    Ok(())
}
