//! The judge is judged first: on a plain PostgreSQL the harness must see what happened and nothing
//! else, or no verdict of the other tests is worth anything.

use std::time::Duration;

use pgha_chaos::account::Account;
use pgha_chaos::certificate::Certificate;
use pgha_chaos::checker;
use pgha_chaos::load::{Load, LoadOptions, Outcome};
use pgha_chaos::mix::{Doing, Mix};
use pgha_chaos::plain::Plain;
use pgha_chaos::ports::Ports;
use pgha_chaos::reader::Reader;
use pgha_chaos::registers::{self, Registers};
use pgha_chaos::scratch::Scratch;
use pgha_chaos::sql::{Target, Tls};
use pgha_chaos::trial::Companion;

struct Bench {
    server: Plain,
    certificate: Certificate,
    _ports: Ports,
    _scratch: Scratch,
}

async fn plain_server() -> anyhow::Result<Bench> {
    let account = Account::detect()?;
    let scratch = Scratch::new(&account)?;
    let mut ports = Ports::reserve()?;
    let certificate = Certificate::make(scratch.path(), &account)?;
    let mut server = Plain::init(&account, &scratch.path().join("plain"), ports.take()?)?;
    server.start(Some(&certificate)).await?;
    Ok(Bench {
        server,
        certificate,
        _ports: ports,
        _scratch: scratch,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_makes_a_gap_and_loses_nothing() -> anyhow::Result<()> {
    let mut bench = plain_server().await?;
    let load = Load::start(LoadOptions::new(1, vec![bench.server.target()])).await?;
    load.advance(60, Duration::from_secs(20)).await?;
    let fault = load.now();
    bench.server.kill();
    // Killing takes as long as finding what to kill, on a machine with many processes.
    let killed = load.now();
    bench.server.start(Some(&bench.certificate)).await?;
    load.advance(30, Duration::from_secs(20)).await?;
    let record = load.stop().await?;

    let gap = record
        .longest_gap(fault)
        .expect("rows before and after the crash");
    assert!(
        gap.from <= killed + Duration::from_millis(50),
        "{gap:?} begins after {killed:?}"
    );
    assert!(gap.length() > Duration::from_millis(20), "{gap:?}");
    assert!(
        record.failed_connections.contains_key("connection refused"),
        "{record:?}"
    );
    let last = record.acknowledged().last().expect("rows");
    assert!(last.before_commit < last.after_commit, "{last:?}");
    assert_eq!(last.timeline, Some(1));

    let present = checker::read_rows(&bench.server.target()).await?;
    checker::judge(std::slice::from_ref(&record), &present)?.nothing_lost()?;
    assert!(checker::wal_bytes_in_any(&[record], Duration::from_secs(1)) > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_taken_away_is_missed() -> anyhow::Result<()> {
    let bench = plain_server().await?;
    let target = bench.server.target();
    let load = Load::start(LoadOptions::new(1, vec![target.clone()])).await?;
    load.advance(60, Duration::from_secs(20)).await?;
    let record = load.stop().await?;

    let last = record.acknowledged().last().expect("rows").number;
    target
        .run(&format!("DELETE FROM pgha_load WHERE number = {last}"))
        .await?;
    let present = checker::read_rows(&target).await?;
    let verdict = checker::judge(std::slice::from_ref(&record), &present)?;
    assert_eq!(verdict.lost.len(), 1);
    assert!(verdict.nothing_lost().is_err() && verdict.losses_reported(&[], u64::MAX).is_err());

    target
        .run("DELETE FROM pgha_load WHERE number = 30")
        .await?;
    let present = checker::read_rows(&target).await?;
    assert!(
        checker::judge(&[record], &present).is_err(),
        "a hole passed as a cut tail"
    );
    Ok(())
}

/// What a fork would do to who reads: rows that were there are gone, and a register is what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_seen_by_readers_and_registers() -> anyhow::Result<()> {
    const WITHIN: Duration = Duration::from_secs(20);
    const FIRST: i32 = 50;
    let bench = plain_server().await?;
    let target = bench.server.target();
    let load = Load::start(LoadOptions::new(1, vec![target.clone()])).await?;
    let session = target.connect(WITHIN).await?;
    registers::prepare(&session, FIRST).await?;
    for taken_back in [false, true] {
        let origin = std::time::Instant::now();
        let reader = Reader::begin(vec![target.clone()], 1, origin);
        let ports = [target.clone(), target.clone(), target.clone()];
        let clients = Registers::begin(&ports, FIRST, origin);
        load.advance(100, WITHIN).await?;
        if taken_back {
            session.run("UPDATE pgha_register SET value = -7").await?;
            session
                .run("DELETE FROM pgha_load WHERE writer = 1 AND number = 30")
                .await?;
        }
        load.advance(100, WITHIN).await?;
        let operations = clients.end().await?;
        let reads = reader.end().await?;
        let present = checker::read_rows(&target).await?;
        let wrong = registers::judge(&operations, &reads, &present);
        assert!(wrong.judged > 100 && !reads.is_empty(), "{wrong:?}");
        assert_eq!(!wrong.wrong.is_empty(), taken_back, "{:?}", wrong.wrong);
        let gone = checker::reads::judge(&[], &reads, &present, &[]);
        assert_eq!(!gone.is_empty(), taken_back, "{gone:?}");
        session.run("TRUNCATE pgha_register").await?;
        session
            .run("DELETE FROM pgha_load WHERE writer >= 50")
            .await?;
        registers::prepare(&session, FIRST).await?;
    }
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_refuses_definitely() -> anyhow::Result<()> {
    let bench = plain_server().await?;
    let target = bench.server.target();
    let load = Load::start(LoadOptions::new(1, vec![target.clone()])).await?;
    load.advance(10, Duration::from_secs(20)).await?;
    let session = target.connect(Duration::from_secs(2)).await?;
    session
        .run("ALTER SYSTEM SET default_transaction_read_only = on")
        .await?;
    session.run("SELECT pg_reload_conf()").await?;
    pgha_chaos::wait::until_true("a silent load", Duration::from_secs(20), || {
        let before = load.acknowledged();
        std::thread::sleep(Duration::from_millis(200));
        load.acknowledged() == before
    })
    .await?;
    let record = load.stop().await?;
    let last = record.attempts.last().expect("rows");
    assert_eq!(last.outcome, Outcome::Refused, "{last:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_sessions_are_encrypted_and_verified() -> anyhow::Result<()> {
    let bench = plain_server().await?;
    let plain = bench.server.target();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(!plain.value::<bool>(encrypted).await?);
    let tls = Tls::trusting(&bench.certificate.certificate)?;
    assert!(
        Target {
            tls: Some(tls),
            ..plain.clone()
        }
        .value::<bool>(encrypted)
        .await?
    );

    let account = Account::detect()?;
    let elsewhere = Scratch::new(&account)?;
    let other = Certificate::make(elsewhere.path(), &account)?;
    let tls = Some(Tls::trusting(&other.certificate)?);
    let refused = Target { tls, ..plain }
        .connect(Duration::from_secs(5))
        .await;
    assert!(
        refused.is_err(),
        "a certificate that nobody trusts was accepted"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_tell_a_crash_from_none() -> anyhow::Result<()> {
    let mut bench = plain_server().await?;
    let target = bench.server.target();
    let tls = Tls::trusting(&bench.certificate.certificate)?;
    let mut quiet = Mix::start(&tls, std::slice::from_ref(&target), 1).await?;
    quiet.service_is_back().await?;
    for (class, fate) in quiet
        .fates()
        .iter()
        .flat_map(|(c, fates)| fates.iter().map(move |f| (c, f)))
    {
        assert!(
            fate.session_kept && fate.odd_ends.is_empty(),
            "{class:?}: {fate:?}"
        );
        assert_eq!(
            fate.committed,
            (class.doing == Doing::InTransaction).then_some(true)
        );
    }
    let mut crashed = Mix::start(&tls, &[target], 2).await?;
    bench.server.kill();
    bench.server.start(Some(&bench.certificate)).await?;
    crashed.service_is_back().await?;
    for (class, fate) in crashed
        .fates()
        .iter()
        .flat_map(|(c, fates)| fates.iter().map(move |f| (c, f)))
    {
        let cut = class.doing == Doing::Cancelling || !fate.session_kept;
        assert!(cut && fate.odd_ends.is_empty(), "{class:?}: {fate:?}");
        assert_eq!(
            fate.committed,
            (class.doing == Doing::InTransaction).then_some(false)
        );
    }
    Ok(())
}
