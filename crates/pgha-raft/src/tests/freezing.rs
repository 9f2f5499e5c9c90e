//! Members in processes of their own, frozen and continued.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::harness::Cluster;
use super::process::Process;
use crate::Options;

#[test]
fn a_follower_that_thaws_does_not_take_the_lead() {
    let mut cluster = Cluster::new(3, Options::default());
    let frozen = Process::start(&cluster, 3);
    cluster.start(1);
    cluster.start(2);
    cluster.initialize(1);
    let leader = cluster.wait_for_leader();
    cluster.commits();
    let term = cluster.role(leader).term;
    for _ in 0..6 {
        frozen.signal(Signal::SIGSTOP);
        cluster.assert_stays(leader, term, Duration::from_millis(1200));
        frozen.signal(Signal::SIGCONT);
        cluster.assert_stays(leader, term, Duration::from_millis(1500));
    }
    cluster.commits();
}
