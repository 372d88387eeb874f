//! Reads of SQLite that share a snapshot while nothing is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::let_pass;
use tokio::task::JoinSet;

use crate::support::{bytes, kept, key, opened, run, store_in, value};

/// Longer than the time without writes after which snapshots are kept.
const QUIET: Duration = Duration::from_millis(15);

#[test]
fn what_was_written_is_read_at_once_however_many_read() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let engine = opened(&folder.path().join("state.db"));
        let store = store_in(&engine).await;
        let is_done = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
            readers.spawn(async move {
                let mut seen = Vec::new();
                while !is_done.load(Ordering::Acquire) {
                    let number = kept(&store, "n").await.map_or(0, |text| text.parse::<u64>().unwrap());
                    seen.push(number);
                    tokio::task::yield_now().await;
                }
                assert!(seen.is_sorted(), "a read saw what was there before the read before it");
            });
        }
        for number in 1..=60_u64 {
            if number % 3 == 0 {
                let_pass(QUIET);
            }
            store.set(key("n"), value(&number.to_string()), None).await.unwrap();
            for _ in 0..5 {
                assert_eq!(kept(&store, "n").await, Some(number.to_string()));
            }
        }
        is_done.store(true, Ordering::Release);
        readers.join_all().await;
    });
}

#[test]
fn a_snapshot_that_is_kept_does_not_make_the_side_file_grow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    run(async {
        let engine = opened(&path);
        let store = store_in(&engine).await;
        for round in 0..2 {
            let_pass(QUIET);
            // Sequential reads use one connection.
            for _ in 0..5 {
                store.get(&key("k0")).await.unwrap();
            }
            for number in 0..150 {
                store.set(key(&format!("k{number}")), bytes(200_000), None).await.unwrap();
            }
            let side_file = std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
            // SQLite empties it at 1,000 pages of 4 KiB, after finishing its current transaction.
            assert!(side_file < 10_000_000, "{side_file} bytes after round {round}, of 30 MB each");
        }
    });
}

#[test]
fn what_another_process_writes_is_seen_soon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    run(async {
        let (our_engine, their_engine) = (opened(&path), opened(&path));
        let (ours, theirs) = (store_in(&our_engine).await, store_in(&their_engine).await);
        let_pass(QUIET);
        assert_eq!(kept(&ours, "a").await, None);
        theirs.set(key("a"), value("1"), None).await.unwrap();
        let written = Instant::now();
        while kept(&ours, "a").await.is_none() {
            assert!(written.elapsed() < Duration::from_secs(5), "it is not seen");
        }
    });
}
