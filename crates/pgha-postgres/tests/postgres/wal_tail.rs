//! A primary's data directory that is removed under it: what it wrote last can still be read.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgha_core::{Lsn, TimelineId};
use pgha_postgres::{WAL_PAGE_BYTES, WalTail, end_of_wal};

use crate::common::{self, LIMIT, Node, installation};

#[test]
fn the_end_of_removed_wal_is_read() {
    common::run(async {
        let (mut node, session) = Node::primary("a").await;
        let client = node.client().await;
        let mut tail = WalTail::new(&node.layout);
        let known = session.flush_lsn(LIMIT).await.unwrap();
        tail.hold(TimelineId(1), known);
        // Over the border of a segment, which the next look finds.
        client
            .batch_execute("CREATE TABLE t (id int); SELECT pg_switch_wal()")
            .await
            .unwrap();
        client
            .batch_execute("INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        let known = session.flush_lsn(LIMIT).await.unwrap();
        tail.hold(TimelineId(1), known);
        client
            .batch_execute("INSERT INTO t SELECT generate_series(2, 1000)")
            .await
            .unwrap();
        let acknowledged = session.flush_lsn(LIMIT).await.unwrap();
        assert!(acknowledged > known);
        drop((session, client));
        node.stop(Signal::SIGQUIT).await;

        let data_dir = &node.layout.data_dir;
        let end = end_of_wal(&installation(), data_dir, TimelineId(1), known).unwrap();
        let page_end = end.0.next_multiple_of(WAL_PAGE_BYTES);
        assert!(page_end >= acknowledged.0, "{end} {acknowledged}");
        fs::remove_dir_all(data_dir).unwrap();
        let held = tail.end(&installation(), TimelineId(1), known).unwrap();
        assert_eq!(held, end);

        let nothing = WalTail::new(&node.layout);
        let refused = nothing.end(&installation(), TimelineId(1), known);
        assert!(refused.is_err(), "{refused:?}");
    });
}

/// pg_waldump waits five seconds for a segment that was not begun, and the choice of the next primary does
/// not wait for whoever has not answered by then.
#[test]
fn wal_that_ends_with_a_full_segment_is_read_at_once() {
    common::run(async {
        let (mut node, session) = Node::primary("a").await;
        let client = node.client().await;
        let before = session.flush_lsn(LIMIT).await.unwrap();
        client
            .batch_execute("CREATE TABLE t (id int); SELECT pg_switch_wal()")
            .await
            .unwrap();
        drop(client);
        let known = session.flush_lsn(LIMIT).await.unwrap();
        drop(session);
        node.stop(Signal::SIGQUIT).await;
        for from in [before, known] {
            let begun = Instant::now();
            let end = end_of_wal(&installation(), &node.layout.data_dir, TimelineId(1), from);
            assert!(end.unwrap() >= known, "from {from}");
            assert!(begun.elapsed() < Duration::from_secs(4), "from {from}");
        }
    });
}

/// Whole pages are flushed, so that a record may be there in part when everything is killed. The record
/// before it was acknowledged: its end is told, not some position inside of it.
#[test]
fn the_last_whole_record_ends_where_the_next_one_is_torn() {
    common::run(async {
        let (mut node, session) = Node::primary("a").await;
        let client = node.client().await;
        let known = session.flush_lsn(LIMIT).await.unwrap();
        client
            .batch_execute(
                "CREATE TABLE t (note text); \
                 INSERT INTO t SELECT repeat('x', n * 7) FROM generate_series(1, 300) n",
            )
            .await
            .unwrap();
        drop((session, client));
        node.stop(Signal::SIGQUIT).await;
        let data_dir = &node.layout.data_dir;
        let read = |from| end_of_wal(&installation(), data_dir, TimelineId(1), from).unwrap();
        let begins = record_starts(data_dir, known);
        let first_page = known.0 / WAL_PAGE_BYTES + 1;
        let (mut torn, mut told_inside) = (0, 0);
        for page in (first_page + 1..=read(known).0 / WAL_PAGE_BYTES).rev() {
            let page = Lsn(page * WAL_PAGE_BYTES);
            let (last, next) = around(&begins, page);
            if let Some(next) = next {
                // What was flushed ended with the page, and the record in whose middle that was is whole.
                zero_from(data_dir, next);
                assert_eq!(read(page), next, "from {page}");
                told_inside += 1;
            }
            zero_from(data_dir, page);
            let end = read(known);
            assert!(
                end == last || end == page,
                "{end}, not {last}, cut at {page}"
            );
            torn += usize::from(end == last);
        }
        assert!(torn > 5 && told_inside > 5, "{torn} and {told_inside}");
    });
}

/// The last record that begins before that page, and the first that begins in it where the last one
/// ends there: not behind its header alone, as where the page is the end of a record.
fn around(begins: &[Lsn], page: Lsn) -> (Lsn, Option<Lsn>) {
    let last = begins.iter().rfind(|lsn| **lsn < page).unwrap();
    let next = begins.iter().find(|lsn| **lsn > page).copied();
    (
        *last,
        next.filter(|next| (41..WAL_PAGE_BYTES).contains(&(next.0 - page.0))),
    )
}

/// As `pg_waldump` lists them.
fn record_starts(data_dir: &Path, from: Lsn) -> Vec<Lsn> {
    let listed = Command::new(installation().program("pg_waldump"))
        .arg("--path")
        .arg(data_dir.join("pg_wal"))
        .arg(format!("--start={from}"))
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let lsn = |line: &str| line.split_once("lsn: ")?.1.split(',').next()?.parse().ok();
    text.lines().filter_map(lsn).collect()
}

/// In the first segment.
fn zero_from(data_dir: &Path, position: Lsn) {
    let segment = data_dir.join("pg_wal/000000010000000000000001");
    let file = OpenOptions::new().write(true).open(segment).unwrap();
    let begin = position.0 % (16 << 20);
    let zeros = vec![0; (16 << 20) - usize::try_from(begin).unwrap()];
    file.write_all_at(&zeros, begin).unwrap();
}
