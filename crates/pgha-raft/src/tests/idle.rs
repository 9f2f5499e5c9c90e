//! What a member costs that has nothing to do.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use pgha_core::RaftId;

use super::harness::Cluster;
use super::process::Process;
use crate::Options;

const WATCHED: Duration = Duration::from_secs(20);

/// Percent of a core and resident MiB over a while.
fn measure(processes: &[&Process]) -> Vec<(f64, u64)> {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64;
    let before: Vec<_> = processes.iter().map(|process| process.usage().0).collect();
    std::thread::sleep(WATCHED);
    let percent = |ticks: u64| ticks as f64 / ticks_per_second / WATCHED.as_secs_f64() * 100.0;
    let used = processes.iter().zip(before).map(|(process, before)| {
        let (ticks, kib) = process.usage();
        (percent(ticks - before), kib / 1024)
    });
    used.collect()
}

#[test]
#[ignore = "takes 40 s; means something in a release build on a quiet machine"]
fn an_idle_member_costs_next_to_nothing() {
    let mut cluster = Cluster::new(3, Options::default());
    let (second, third) = (Process::start(&cluster, 2), Process::start(&cluster, 3));
    cluster.start(1);
    cluster.initialize(1);
    assert_eq!(cluster.wait_for_leader(), 1);
    let followers = measure(&[&second, &third]);
    println!("followers (percent of a core, MiB): {followers:?}");

    let moved = cluster.on(1, async |node| {
        node.transfer_leadership(RaftId(2), Duration::from_secs(10))
            .await
    });
    moved.unwrap();
    let both = measure(&[&second, &third]);
    println!("leader and follower (percent of a core, MiB): {both:?}");
    if !cfg!(debug_assertions) {
        assert!(
            followers.iter().all(|(percent, _)| *percent < 0.5),
            "{followers:?}"
        );
        assert!(both[0].0 < 1.0, "{both:?}");
    }
}
