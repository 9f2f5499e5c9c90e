//! A member that is started as another one than its Raft store belongs to. The others would look for it where
//! it was, a switchover to it would succeed, and no client would reach it.

use std::time::Duration;

use pgha_chaos::member::Member;
use pgha_chaos::{Cluster, wait};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_started_as_somebody_else_says_so_and_ends() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let names = cluster.names();
    let name = names.iter().find(|name| **name != primary).unwrap();
    let elsewhere = format!("127.0.0.1:{}", cluster.ports.take()?);
    let at = |member: &Member| format!("{}={}", member.name, member.addresses.raft);
    let peers: Vec<String> = cluster.members.iter().map(at).collect();
    let peers = peers.join(",");
    let renamed = peers.replace(&format!("{name}="), "zz=");
    let before = cluster.member(name)?.addresses;
    let (http, read_write) = (before.http.to_string(), before.read_write.to_string());
    let member = cluster.member_mut(name)?;
    let others = "is known to the others with other addresses";
    for (flags, says) in [
        (&[("--cluster", "other", "chaos")][..], "belongs to cluster"),
        (
            &[("--name", "zz", name), ("--peers", &renamed, &peers)],
            "belongs to member",
        ),
        (&[("--http-listen", &elsewhere, &http)], others),
        (&[("--proxy-rw", &elsewhere, &read_write)], others),
    ] {
        let ended = member.stop(WITHIN).await?;
        assert!(ended.success(), "{ended}: {}", member.log_tail(20));
        for (flag, wrong, _) in flags {
            member.set_flag(flag, wrong);
        }
        member.start()?;
        let ended = member.exit(WITHIN).await?;
        let tail = member.log_tail(20);
        assert_eq!(ended.code(), Some(1), "{flags:?}: {tail}");
        assert!(member.log_text().contains(says), "{flags:?}: {tail}");
        for (flag, _, right) in flags {
            member.set_flag(flag, right);
        }
        member.start()?;
        // Before it is up it does not know what to do when it is asked to stop.
        let streams = |log: String| log.matches("state=streaming").count();
        let before = streams(member.log_text());
        wait::until_true("it to stream again", WITHIN, || {
            streams(member.log_text()) > before
        })
        .await?;
    }
    cluster.wait_healthy(WITHIN).await?;
    let last = cluster
        .ends_in_one_primary_and_all_streaming(WITHIN)
        .await?;
    assert_eq!(last, primary);
    cluster.finish();
    Ok(())
}
