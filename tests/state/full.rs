//! No room: through the file's bound, and through a limit of the operating system that fails real writes.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lictor::state::{Engine, SqliteEngine, SqliteOptions, StateError, Store};
use rlimit::Resource;

use crate::support::{bytes, child, kept, key, opened, path_from_parent, run, store_in, value};

/// Writes until one fails; returns the number of successful writes.
async fn fill(store: &Arc<dyn Store>) -> (usize, StateError) {
    for n in 0..10_000 {
        if let Err(error) = store.set(key(&format!("fill{n:05}")), bytes(10_000), None).await {
            return (n, error);
        }
    }
    panic!("there was room for everything");
}

async fn assert_readable(store: &Arc<dyn Store>, written: usize) {
    assert!(written > 5, "{written}");
    for n in 0..written {
        let entry = store.get(&key(&format!("fill{n:05}"))).await.unwrap();
        assert_eq!(entry.unwrap().value, bytes(10_000));
    }
    assert!(!store.exists(&key(&format!("fill{written:05}"))).await.unwrap());
    let keys = store.list_keys("fill", None, 1000).await.unwrap().keys;
    assert_eq!(keys.len(), written);
    assert_eq!(store.usage().await.unwrap().keys, written as u64 + 1);
}

#[test]
fn at_the_bound_of_the_file_writes_fail_and_all_else_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let options = SqliteOptions { max_file_bytes: Some(1 << 20), ..SqliteOptions::default() };
    let engine: Arc<dyn Engine> = Arc::new(SqliteEngine::open(&path, options).unwrap());
    run(async {
        let store = store_in(&engine).await;
        store.set(key("small"), value("1"), None).await.unwrap();
        let (written, error) = fill(&store).await;
        let full = "state is unavailable: the disk is full, or the state file at its bound";
        assert_eq!(error.to_string(), full);
        assert_readable(&store, written).await;
        // Other writes succeed in one group with a write that finds no room.
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..16 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                if n % 2 == 0 {
                    store.set(key(&format!("large{n}")), bytes(1 << 20), None).await.is_err()
                } else {
                    store.increment(key("small"), 1).await.is_ok()
                }
            });
        }
        assert_eq!(tasks.join_all().await, [true; 16]);
        assert_eq!(kept(&store, "small").await.as_deref(), Some("9"));
        // Deletions make room, which is used.
        let gone = (0..written).map(|n| key(&format!("fill{n:05}"))).collect();
        store.delete_many(gone).await.unwrap();
        let (again, _) = fill(&store).await;
        assert!(again + 2 >= written, "{again} of {written}");
    });
    drop(engine);
    assert!(std::fs::metadata(&path).unwrap().len() <= 1 << 20);
}

#[test]
fn when_the_system_refuses_to_write_earlier_data_stays_and_writing_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    run(async { store_in(&opened(&path)).await.set(key("early"), value("1"), None).await.unwrap() });
    let program = child("full::child_with_a_limit", &path);
    // Without the trap the signal for an oversized file would end the child.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(program.get_program()).args(program.get_args());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().unwrap();
    std::io::stdout().write_all(&output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("recovered"), "the child did nothing");
    run(async {
        let store = store_in(&opened(&path)).await;
        for name in ["early", "after", "fill00000"] {
            assert!(store.exists(&key(name)).await.unwrap(), "{name}");
        }
    });
}

/// Not a test by itself: the child of the one above.
#[test]
fn child_with_a_limit() {
    let Some(path) = path_from_parent() else { return };
    run(with_a_limit(&path));
    println!("recovered");
}

async fn with_a_limit(path: &Path) {
    let store = store_in(&opened(path)).await;
    let (soft, hard) = Resource::FSIZE.get().unwrap();
    Resource::FSIZE.set(2 << 20, hard).unwrap();
    let (written, error) = fill(&store).await;
    assert!(matches!(error, StateError::Unavailable { .. }), "{error:?}");
    assert_eq!(error.plain(), "state is unavailable; try again later");
    let early = || async { kept(&store, "early").await };
    assert_eq!(early().await.as_deref(), Some("1"));
    assert_readable(&store, written).await;
    for _ in 0..20 {
        store.set(key("large"), bytes(1 << 20), None).await.unwrap_err();
    }
    Resource::FSIZE.set(soft, hard).unwrap();
    store.set(key("after"), value("1"), None).await.unwrap();
    store.delete(key("after")).await.unwrap();
    assert_readable(&store, written).await;
    store.set(key("after"), bytes(1 << 20), None).await.unwrap();
}
