//! SQLite's files: their contents across restarts, their permissions, and the words for refused ones.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lictor::state::sqlite::Existing;
use lictor::state::{
    Blame, Engine, Expected, Namespace, Quota, QuotaKind, SqliteEngine, SqliteOptions, StateError, Usage,
};
use rusqlite::Connection;
use testkit::eventually;

use crate::support::{ManualClock, bytes, kept, key, opened, refused, run, store_in, ttl, value};

/// Makes a file with some entries, and closes it.
fn filled(path: &Path) {
    run(async {
        let store = store_in(&opened(path)).await;
        let entries = (0..400).map(|n| (key(&format!("k{n}")), bytes(300))).collect();
        store.set_many(entries, None).await.unwrap();
    });
}

fn assert_words(error: &StateError, path: &Path, words: &[&str]) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "which file? {text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!error.plain().contains(&path.display().to_string()));
    assert_eq!(error.blame(), Blame::Operator);
}

/// Returns true if `text` occurs in any of the files in the folder of `path`.
fn is_anywhere(text: &str, path: &Path) -> bool {
    let files =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.into_iter().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn what_was_deleted_expired_or_written_over_is_left_in_no_file_and_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (path, backups) = (folder.path().join("state.db"), tempfile::tempdir().unwrap());
    let target = backups.path().join("backup.db");
    // An entry that shares its page with others, and one with its own pages.
    let small = "a secret that nobody may find again".to_owned();
    let large = "another secret, and a long one".repeat(1000);
    let clock = ManualClock::new();
    let options = SqliteOptions { clock: clock.clone(), ..SqliteOptions::default() };
    run(async {
        let engine: Arc<dyn Engine> = Arc::new(SqliteEngine::open(&path, options).unwrap());
        let store = store_in(&engine).await;
        for text in [&small, &large] {
            for n in 0..5 {
                store.set(key(&format!("written over {n} {}", text.len())), value(text), None).await.unwrap();
                store.set(key(&format!("deleted {n} {}", text.len())), value(text), None).await.unwrap();
                store.set(key(&format!("expired {n} {}", text.len())), value(text), ttl(100)).await.unwrap();
            }
        }
        assert!(is_anywhere(&small, &path) && is_anywhere(&large[..30], &path));
        for text in [&small, &large] {
            for n in 0..5 {
                store
                    .set(key(&format!("written over {n} {}", text.len())), value("other"), None)
                    .await
                    .unwrap();
                store.delete(key(&format!("deleted {n} {}", text.len()))).await.unwrap();
            }
        }
        clock.advance(200);
        assert_eq!(engine.sweep().await.unwrap(), 10);
        lictor::state::sqlite::backup(&path, &target, Existing::Keep, &mut |_| {}).unwrap();
    });
    for file in [&path, &target] {
        assert!(!is_anywhere(&small, file) && !is_anywhere(&large[..30], file), "{}", file.display());
    }
}

#[test]
fn all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = ManualClock::new();
    let open = || {
        let options = SqliteOptions { clock: clock.clone(), ..SqliteOptions::default() };
        Arc::new(SqliteEngine::open(&path, options).unwrap()) as Arc<dyn Engine>
    };
    let quota = Quota { max_keys: 3, max_bytes: 100 };
    let namespace = || Namespace::new("plugin", "store");
    let version = run(async {
        let store = open().open(namespace(), quota).await.unwrap();
        store.set(key("short"), value("1"), ttl(100)).await.unwrap();
        store.set(key("n"), value("41"), None).await.unwrap();
        store.set(key("gone"), value("1"), None).await.unwrap();
        store.set(key("a"), value("1"), None).await.unwrap_err();
        store.delete(key("gone")).await.unwrap();
        store.set(key("a"), value("1"), None).await.unwrap()
    });
    run(async {
        let store = open().open(namespace(), quota).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 3, bytes: 6 + 3 + 2 });
        let full = StateError::QuotaExceeded { kind: QuotaKind::Keys, limit: 3, needed: 4 };
        assert_eq!(store.set(key("b"), value("1"), None).await, Err(full));
        assert_eq!(store.increment(key("n"), 1).await, Ok(42));
        let next = store.compare_and_set(key("a"), Expected::Version(version), value("2"), None).await;
        assert_ne!(next.unwrap(), version);
        clock.advance(99);
        assert_eq!(kept(&store, "short").await.as_deref(), Some("1"));
        clock.advance(1);
        assert_eq!(kept(&store, "short").await, None);
    });
}

#[test]
fn the_file_is_private_and_closed_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/state.db");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let engine = opened(&path);
    run(async { store_in(&engine).await.set(key("a"), value("1"), None).await.unwrap() });
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&folder.path().join("deep/er")), 0o700);
    assert_eq!(mode(&folder.path().join("deep")), 0o700);
    drop(engine);
    let names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["state.db"]);
}

#[test]
fn writes_that_wait_are_carried_out_when_the_engine_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    run(async {
        let engine = opened(&path);
        let store = store_in(&engine).await;
        let writes: Vec<_> = (0..200)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.set(key(&format!("k{n}")), value("1"), None).await })
            })
            .collect();
        drop((engine, store));
        for write in writes {
            write.await.unwrap().unwrap();
        }
    });
    run(async { assert_eq!(store_in(&opened(&path)).await.usage().await.unwrap().keys, 200) });
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let texts: [&[u8]; 3] = [b"x", b"not a database, but quite a bit of text", &[7; 9000]];
    for text in texts {
        fs::write(&path, text).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StateError::Foreign { .. }), "{error:?}");
        assert_words(&error, &path, &["not an SQLite database", "name another file"]);
        assert_eq!(fs::read(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&path).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StateError::Foreign { .. }), "{error:?}");
    assert_words(&error, &path, &["another program's", "name another file"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_words(&refused(folder.path()), folder.path(), &["not a file"]);
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    filled(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let before = fs::read(&path).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StateError::NewerSchema { found: 7, known: 1, .. }), "{error:?}");
    assert_words(&error, &path, &["schema 7", "up to 1", "run the newer release"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    filled(&path);
    let whole = fs::metadata(&path).unwrap().len();
    for length in [whole - 1, whole / 2, 4096, 600, 100, 17] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StateError::Corrupt { .. }), "{length}: {error:?}");
        assert_words(&error, &path, &["damaged", "restore a backup"]);
    }
}

#[test]
fn a_file_with_rubbish_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for page in [0_u64, 1, 3, 9] {
        let path = folder.path().join(format!("state{page}.db"));
        filled(&path);
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        // After the header, which identifies the program.
        file.seek(SeekFrom::Start(page * 4096 + if page == 0 { 100 } else { 0 })).unwrap();
        file.write_all(&[0xa5; 2000]).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StateError::Corrupt { .. }), "{page}: {error:?}");
        assert_words(&error, &path, &["damaged", "restore a backup"]);
    }
}

#[test]
fn a_file_without_our_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    filled(&path);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE entry").unwrap();
    let error = refused(&path);
    assert!(matches!(error, StateError::Corrupt { .. }), "{error:?}");
    assert_words(&error, &path, &["no such table", "restore a backup"]);
}

#[test]
fn while_another_process_holds_the_file_reads_go_on_and_writes_can_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    run(async {
        let store = store_in(&opened(&path)).await;
        store.set(key("a"), value("1"), None).await.unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut kept_up = store.set(key("a"), value("2"), None);
        let mut given_up = store.set(key("b"), value("2"), None);
        for write in [&mut kept_up, &mut given_up] {
            tokio::select! {
                biased;
                answer = write => panic!("written in spite of the other: {answer:?}"),
                () = std::future::ready(()) => {}
            }
        }
        drop(given_up);
        assert_eq!(kept(&store, "a").await.as_deref(), Some("1"));
        other.execute_batch("COMMIT").unwrap();
        kept_up.await.unwrap();
        assert_eq!(kept(&store, "a").await.as_deref(), Some("2"));
        assert_eq!(kept(&store, "b").await, None);
    });
}

#[test]
fn what_has_expired_is_removed_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = ManualClock::new();
    let options = SqliteOptions { clock: clock.clone(), ..SqliteOptions::default() };
    let engine: Arc<dyn Engine> = Arc::new(SqliteEngine::open(&path, options).unwrap());
    let store = run(async {
        let store = store_in(&engine).await;
        for start in [0, 1000] {
            let entries = (start..start + 900).map(|n| (key(&format!("k{n}")), value("x"))).collect();
            store.set_many(entries, ttl(10)).await.unwrap();
        }
        store.set(key("stays"), value("x"), ttl(11)).await.unwrap();
        store
    });
    clock.advance(10);
    let is_gone = || run(store.usage()).unwrap() == Usage { keys: 1, bytes: 6 };
    eventually("the removal", || is_gone().then_some(()));
}

#[test]
fn two_engines_may_have_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let engines = [opened(&path), opened(&path)];
    run(async {
        let stores = [store_in(&engines[0]).await, store_in(&engines[1]).await];
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            let store = Arc::clone(&stores[task % 2]);
            tasks.spawn(async move {
                for _ in 0..20 {
                    store.increment(key("n"), 1).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        assert_eq!(kept(&stores[0], "n").await.as_deref(), Some("160"));
        assert_eq!(stores[1].usage().await.unwrap(), Usage { keys: 1, bytes: 4 });
    });
}
