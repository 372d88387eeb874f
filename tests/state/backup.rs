//! Backups of a file in use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lictor::state::sqlite::{BackupError, Existing, backup};
use lictor::state::{StateError, Usage};

use crate::support::{bytes, key, opened, run, store_in, value};

#[test]
fn a_backup_while_others_write_is_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("state.db"), folder.path().join("backup.db"));
    run(async {
        let store = store_in(&opened(&path)).await;
        for n in 0..12 {
            store.set(key(&format!("large{n}")), bytes(1 << 20), None).await.unwrap();
        }
        let is_done = Arc::new(AtomicBool::new(false));
        let writer = {
            let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
            tokio::spawn(async move {
                let mut n = 0;
                while !is_done.load(Ordering::Acquire) {
                    n += 1;
                    let text = value(&n.to_string());
                    store.set_many(vec![(key("a"), text.clone()), (key("b"), text)], None).await.unwrap();
                }
                n
            })
        };
        while !store.exists(&key("a")).await.unwrap() {
            tokio::task::yield_now().await;
        }
        let (from, to) = (path.clone(), target.clone());
        let seen = tokio::task::spawn_blocking(move || {
            let mut seen = Vec::new();
            backup(&from, &to, Existing::Keep, &mut |progress| seen.push(progress)).unwrap();
            seen
        });
        let seen = seen.await.unwrap();
        is_done.store(true, Ordering::Release);
        let written = writer.await.unwrap();
        assert!(seen.len() >= 3 && seen.iter().all(|at| at.total == seen[0].total), "{seen:?}");
        assert!(seen.windows(2).all(|pair| pair[0].done < pair[1].done), "{seen:?}");
        assert_eq!(seen.last().unwrap().done, seen[0].total);
        assert!(written > 1);
    });
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["backup.db", "state.db"]);
    run(async {
        let store = store_in(&opened(&target)).await;
        let [a, b] = ["a", "b"].map(key);
        let (a, b) = (store.get(&a).await.unwrap().unwrap(), store.get(&b).await.unwrap().unwrap());
        assert_eq!(a.value, b.value);
        assert_eq!(store.get(&key("large11")).await.unwrap().unwrap().value, bytes(1 << 20));
        let length = 2 * (1 + a.value.as_bytes().len() as u64);
        let large = 12 * (1 << 20) + 10 * 6 + 2 * 7;
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 14, bytes: large + length });
        store.set(key("goes"), value("on"), None).await.unwrap();
    });
}

#[test]
fn a_backup_overwrites_only_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("state.db"), folder.path().join("backup.db"));
    let engine = lictor::state::SqliteEngine::open(&path, lictor::state::SqliteOptions::default()).unwrap();
    fs::write(&target, "precious").unwrap();
    let error = engine.backup(&target, Existing::Keep, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::Copy { .. }) && error.to_string().contains("--replace"), "{error}");
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    engine.backup(&target, Existing::Replace, &mut |_| {}).unwrap();
    drop(opened(&target));
    // Only state files are backed up.
    let foreign = path.with_extension("txt");
    fs::write(&foreign, "text").unwrap();
    let error = backup(&foreign, &target, Existing::Replace, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::State(StateError::Foreign { .. })), "{error:?}");
    let nowhere = folder.path().join("none/backup.db");
    let error = engine.backup(&nowhere, Existing::Keep, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, BackupError::Copy { .. }) && error.to_string().contains("no such folder"),
        "{error}"
    );
    drop(opened(&target));
    assert_eq!(
        fs::read_dir(folder.path())
            .unwrap()
            .filter(|e| { e.as_ref().unwrap().file_name().to_string_lossy().contains("part") })
            .count(),
        0
    );
}

#[test]
fn a_backup_is_made_where_nobody_else_can_put_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (path, shared) = (folder.path().join("state.db"), folder.path().join("shared"));
    let engine = lictor::state::SqliteEngine::open(&path, lictor::state::SqliteOptions::default()).unwrap();
    fs::create_dir(&shared).unwrap();
    let allow = |mode| fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o777);
    let target = shared.join("backup.db");
    let error = engine.backup(&target, Existing::Keep, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("chmod +t"), "{error}");
    allow(0o1777);
    let mut modes = Vec::new();
    let look = &mut |_| {
        let made: Vec<_> =
            fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().metadata().unwrap()).collect();
        modes.extend(made.iter().map(|made| (made.is_dir(), made.permissions().mode() & 0o777)));
    };
    engine.backup(&target, Existing::Keep, look).unwrap();
    assert_eq!(modes, [(true, 0o700)]);
    drop(opened(&target));
    let left: Vec<_> = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("backup.db")), "{left:?}");
}
