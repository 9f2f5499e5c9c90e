//! Fifty clients of every kind at the ports while something happens to the primary: libpq and
//! tokio-postgres, in plain and with TLS, idle, in a transaction, cancelling.

use std::time::Duration;

use pgha_chaos::faults::{Fault, Impact};
use pgha_chaos::mix::{Class, Doing, Driver, Fate, Mix};
use pgha_chaos::sql::Target;
use pgha_chaos::trial::{ports_for, survive};
use pgha_chaos::{Cluster, ClusterOptions, netns};

/// Longer than the failover takes, so that clients are told what became of them before the end.
const LASTING: Duration = Duration::from_secs(6);

/// What becomes of the sessions of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// Closed or reset without a word: whoever could say it is gone, or its gate is shut.
    Cut,
    /// As if nothing had happened.
    Kept,
    /// Closed with 57P01, by the port or by PostgreSQL.
    Told,
    /// A backend that finds its postmaster gone says 57P01 where it waits for its client, and nothing
    /// where it sleeps; and it may be killed before it finds it.
    ToldUnlessKilled,
    /// Who sends a statement at the very moment of the goodbye may find the socket closed before
    /// having read it.
    ToldUnlessSpeaking,
}

use Session::{Cut, Kept, Told, ToldUnlessKilled, ToldUnlessSpeaking};

/// Idle, in a transaction, cancelling.
const TABLE: [(Fault, [Session; 3]); 13] = [
    (Fault::Switchover, [Told, Told, ToldUnlessSpeaking]),
    (Fault::StoppedByHand, [Told, Told, ToldUnlessSpeaking]),
    (Fault::PostmasterKilled, [ToldUnlessKilled; 3]),
    (Fault::GuardKilled, [ToldUnlessKilled; 3]),
    (Fault::PrimaryRemoved, [ToldUnlessKilled; 3]),
    (Fault::SidecarKilled, [Cut; 3]),
    (Fault::NodeKilled, [Cut; 3]),
    (Fault::AllKilled, [Cut; 3]),
    (Fault::SidecarFrozen(LASTING), [Cut; 3]),
    (Fault::NodeFrozen(LASTING), [Cut; 3]),
    (Fault::NetworkCut(LASTING), [Cut; 3]),
    (Fault::PromotedByHand, [Kept; 3]),
    (Fault::ReplicaRemoved, [Kept; 3]),
];

fn expected(fault: Fault, doing: Doing) -> Session {
    let row = TABLE.iter().find(|(known, _)| *known == fault);
    let (_, [idle, in_transaction, cancelling]) = row.expect("every fault has its row");
    match doing {
        Doing::Idle => *idle,
        Doing::InTransaction => *in_transaction,
        Doing::Cancelling => *cancelling,
    }
}

fn permits(expected: Session, class: Class, met: &str) -> bool {
    // psql ends with each statement that it cancels: at that moment it may have had no session, and
    // its next one was held.
    if class.doing == Doing::Cancelling && class.driver == Driver::Libpq && met == "kept" {
        return true;
    }
    match expected {
        Cut => met == "cut",
        Kept => met == "kept",
        Told => met == "57P01",
        ToldUnlessKilled | ToldUnlessSpeaking => met == "57P01" || met == "cut",
    }
}

/// Beside the table, always: nothing hangs, what a transaction could not commit is not there, and a
/// new connection is served by a primary at the first try.
fn check(fault: Fault, class: Class, fate: &Fate) -> anyhow::Result<()> {
    let expected = expected(fault, class.doing);
    let as_expected = permits(expected, class, fate.met());
    let committed = (class.doing == Doing::InTransaction).then_some(fate.session_kept);
    let rest = fate.odd_ends.is_empty() && fate.refusals.is_empty();
    anyhow::ensure!(
        as_expected && rest && fate.committed == committed,
        "{fault:?}, {class:?}: expected {expected:?}, met `{}`: {fate:?}",
        fate.met()
    );
    Ok(())
}

/// Every port whose sidecar the fault leaves alive, the primary's own among them.
async fn ports(cluster: &Cluster, fault: Fault) -> anyhow::Result<Vec<Target>> {
    match fault {
        Fault::PostmasterKilled
        | Fault::GuardKilled
        | Fault::StoppedByHand
        | Fault::PromotedByHand
        | Fault::ReplicaRemoved
        | Fault::PrimaryRemoved
        | Fault::Switchover => cluster.read_write_except(&[]),
        Fault::SidecarKilled
        | Fault::NodeKilled
        | Fault::SidecarFrozen(_)
        | Fault::NodeFrozen(_)
        | Fault::NetworkCut(_)
        | Fault::AllKilled => ports_for(cluster, fault, &fault.victim(cluster).await?),
    }
}

/// All faults in turn on one cluster, each with fifty clients of its own.
async fn each(cluster: &mut Cluster, faults: &[Fault]) -> anyhow::Result<()> {
    for (round, fault) in (1..).zip(faults) {
        let targets = ports(cluster, *fault).await?;
        let mut mix = Mix::start(&cluster.tls()?, &targets, round).await?;
        survive(cluster, *fault, round, &mut mix).await?;
        for (class, fates) in mix.fates() {
            for fate in fates {
                check(*fault, *class, fate)?;
            }
        }
    }
    Ok(())
}

async fn on_a_new_cluster(options: ClusterOptions, faults: &[Fault]) -> anyhow::Result<()> {
    let mut cluster = Cluster::start_with(options.with_tls()).await?;
    each(&mut cluster, faults).await?;
    cluster.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_and_by_hand() -> anyhow::Result<()> {
    let faults = [
        Fault::Switchover,
        Fault::StoppedByHand,
        Fault::PromotedByHand,
        Fault::ReplicaRemoved,
    ];
    // Nobody times out here: a machine that is busy with other tests must not cause a failover.
    let options = ClusterOptions::new(3).initial("lease_ms", 6_000);
    on_a_new_cluster(options, &faults).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() -> anyhow::Result<()> {
    let faults = [
        Fault::PostmasterKilled,
        Fault::SidecarKilled,
        Fault::GuardKilled,
        Fault::NodeKilled,
    ];
    on_a_new_cluster(ClusterOptions::new(3), &faults).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_removed_and_all_at_once() -> anyhow::Result<()> {
    let faults = [
        Fault::SidecarFrozen(LASTING),
        Fault::NodeFrozen(LASTING),
        Fault::PrimaryRemoved,
        Fault::AllKilled,
    ];
    on_a_new_cluster(ClusterOptions::new(3), &faults).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off() -> anyhow::Result<()> {
    if netns::skipped("cut_off") {
        return Ok(());
    }
    let options = ClusterOptions::new(3).in_namespaces();
    on_a_new_cluster(options, &[Fault::NetworkCut(LASTING)]).await
}

/// Where nothing that clients talk to is touched, no session may end.
#[test]
fn the_table_agrees_with_what_the_faults_are() {
    for (fault, sessions) in TABLE {
        let untouched = fault.impact() == Impact::Untouched;
        assert_eq!(sessions == [Kept; 3], untouched, "{fault:?}");
    }
}
