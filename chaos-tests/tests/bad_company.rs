//! Somebody else at a peer's address, or under a member's name: the sidecar stays up, `status` says
//! what it waits for in one line that names the thing, its value and the way out, and neither
//! cluster is touched.

use std::time::Duration;

use pgha_chaos::member::Member;
use pgha_chaos::options::Addresses;
use pgha_chaos::{Cluster, ClusterOptions, refusal};

const WITHIN: Duration = Duration::from_secs(90);
/// A look that must not find what it looks for lasts this long.
const QUIET: Duration = Duration::from_secs(2);

fn replace_in_flags(member: &mut Member, from: &str, to: &str) {
    for flag in &mut member.flags {
        *flag = flag.replace(from, to);
    }
}

fn without_flag(flags: &[String], flag: &str) -> Vec<String> {
    let at = flags.iter().position(|word| word == flag);
    let at = at.expect("the flag is given");
    [&flags[..at], &flags[at + 2..]].concat()
}

/// A typing error in a peer list leads to somebody else's cluster, under another name and under the
/// same: most have the default one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_cluster_at_a_peers_address_when_forming() -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(ClusterOptions::new(3))?;
    let first = cluster.members[0].addresses.raft.to_string();
    let same = cluster.members[0].flags[1].clone();
    for (name, words) in [
        ("other", vec!["belongs to cluster", "\"other\""]),
        (same.as_str(), vec!["no member of cluster", "n1"]),
    ] {
        let options = ClusterOptions {
            cluster: name.to_owned(),
            ..ClusterOptions::new(1)
        };
        let foreign = Cluster::start_with(options).await?;
        foreign.goes_on("n1").await?;
        let theirs = foreign.members[0].addresses.raft.to_string();
        for member in &mut cluster.members[1..] {
            replace_in_flags(member, &first, &theirs);
            member.start()?;
        }
        for member in &cluster.members[1..] {
            let at = member.addresses.raft;
            cluster.waits_for(at, "foreign_cluster", &words).await?;
        }
        tokio::time::sleep(QUIET).await;
        for member in &mut cluster.members[1..] {
            member.formed_nothing()?;
            member.stop(WITHIN).await?;
            replace_in_flags(member, &theirs, &first);
        }
        foreign.goes_on("n1").await?;
        foreign.is_whole(1).await?;
        assert_eq!(foreign.status().await?.members.len(), 1);
        foreign.finish();
    }
    for member in &mut cluster.members {
        member.start()?;
    }
    cluster.is_whole(1).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_cluster_at_the_address_of_a_member_that_is_down() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let primary = cluster.primary().await?;
    let mut names = cluster.names().into_iter();
    let name = names.find(|name| *name != primary).expect("a replica");
    cluster.member_mut(&name)?.stop(WITHIN).await?;
    let address = cluster.member(&name)?.addresses.raft;

    let mut foreign = Cluster::prepare(ClusterOptions::new(1))?;
    let theirs = &mut foreign.members[0];
    let own = theirs.addresses.raft.to_string();
    replace_in_flags(theirs, &own, &address.to_string());
    theirs.addresses.raft = address;
    theirs.start()?;
    foreign.wait_healthy(WITHIN).await?;

    let id = foreign.status().await?.cluster_id.expect("formed");
    let address = address.to_string();
    let words = [address.as_str(), "belongs to cluster", id.as_str()];
    cluster
        .shows(&name, ("unreachable", "unreachable"), &words)
        .await?;
    cluster.goes_on(&primary).await?;
    foreign.goes_on("n1").await?;
    foreign.is_whole(1).await?;
    foreign.members[0].stop(WITHIN).await?;
    foreign.finish();

    cluster.member_mut(&name)?.start()?;
    cluster.is_whole(1).await?;
    cluster.finish();
    Ok(())
}

/// A copied configuration: the second one takes no part, whatever address it gives for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sidecars_with_one_name() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let before = cluster.status().await?;
    for name in cluster.names() {
        let original = cluster.member(&name)?.addresses;
        let flags = cluster.member(&name)?.flags.clone();
        let directory = cluster.scratch.path().join(format!("second-{name}"));
        cluster.account.directory(&directory, 0o700)?;
        let at = Addresses::on_loopback(&mut cluster.ports)?;
        let data_dir = cluster.member(&name)?.directory.clone();
        let mut second = Member::new(
            &name,
            directory.clone(),
            at,
            flags,
            &cluster.binaries.pgha,
            &cluster.account,
            None,
        );
        let peers_at = second.flags.iter().position(|flag| flag == "--peers");
        let peers_at = peers_at.expect("a list") + 1;
        let peers = second.flags[peers_at].clone();
        for (from, to) in [
            (
                data_dir.display().to_string(),
                directory.display().to_string(),
            ),
            (original.raft.to_string(), at.raft.to_string()),
            (original.http.to_string(), at.http.to_string()),
            (original.read_write.to_string(), at.read_write.to_string()),
            (original.read_only.to_string(), at.read_only.to_string()),
            (original.postgres.to_string(), at.postgres.to_string()),
        ] {
            replace_in_flags(&mut second, &from, &to);
        }
        // It lists itself where it is: the others know better.
        second.start()?;
        let listed = original.raft.to_string();
        let words = [name.as_str(), "alive", listed.as_str(), "unique"];
        cluster.waits_for(at.raft, "name_taken", &words).await?;
        second.formed_nothing()?;
        second.stop(WITHIN).await?;

        // It lists the first one, and says to be elsewhere.
        second.flags[peers_at] = peers;
        let arguments = [vec!["run".to_owned()], second.flags.clone()].concat();
        let refused = refusal::run(&cluster.account, &cluster.binaries.pgha, &arguments).await?;
        let own = at.raft.to_string();
        refused.says(2, &["advertise", &own, &listed, "make both equal"])?;

        // It lists the first one and says nothing.
        second.flags = without_flag(&second.flags, "--advertise");
        second.start()?;
        let words = [name.as_str(), listed.as_str(), "another sidecar"];
        cluster.waits_for(at.raft, "name_taken", &words).await?;
        second.formed_nothing()?;
        second.stop(WITHIN).await?;
        cluster.goes_on(&name).await?;
    }
    let after = cluster.status().await?;
    assert_eq!(before.raft.voters, after.raft.voters);
    assert_eq!(before.epoch, after.epoch);
    cluster.is_whole(1).await?;
    cluster.finish();
    Ok(())
}
