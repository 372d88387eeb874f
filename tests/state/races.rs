//! Many callers at once, on every engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lictor::state::{Expected, StateError, Usage};
use tokio::task::JoinSet;

use crate::support::{kept, key, on_every_engine, value};

#[test]
fn increments_of_32_tasks_add_up() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let mut tasks = JoinSet::new();
        for task in 0..32 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..25 {
                    seen.push(store.increment(key("n"), 1).await.unwrap());
                    // An acknowledged write is visible.
                    let mine = key(&format!("mine{task}"));
                    store.set(mine.clone(), value(&seen.len().to_string()), None).await.unwrap();
                    let read = store.get(&mine).await.unwrap().unwrap().value;
                    assert_eq!(read, value(&seen.len().to_string()));
                }
                assert!(seen.is_sorted());
                seen
            });
        }
        let sums: BTreeSet<i64> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(sums, (1..=800).collect());
        assert_eq!(kept(&store, "n").await.as_deref(), Some("800"));
    });
}

#[test]
fn a_compare_and_set_has_one_winner() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let mut expected = Expected::Absent;
        for round in 0..10 {
            let mut tasks = JoinSet::new();
            for task in 0..32 {
                let store = Arc::clone(&store);
                let written = value(&format!("{round} {task}"));
                tasks.spawn(async move {
                    let set = store.compare_and_set(key("a"), expected, written.clone(), None).await;
                    (set, written)
                });
            }
            let outcomes = tasks.join_all().await;
            let winners: Vec<_> = outcomes.iter().filter(|(set, _)| set.is_ok()).collect();
            assert_eq!(winners.len(), 1);
            let (version, written) = (winners[0].0.clone().unwrap(), &winners[0].1);
            let lost = Err(StateError::Conflict { current: Some(version) });
            assert!(outcomes.iter().all(|(set, _)| set.is_ok() || *set == lost));
            assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, *written);
            expected = Expected::Version(version);
        }
    });
}

#[test]
fn nobody_sees_half_of_many() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let names: Arc<Vec<_>> = Arc::new((0..20).map(|n| key(&format!("k{n}"))).collect());
        let is_done = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let (store, names, is_done) = (Arc::clone(&store), Arc::clone(&names), Arc::clone(&is_done));
            readers.spawn(async move {
                while !is_done.load(Ordering::Acquire) {
                    let entries = store.get_many(&names).await.unwrap();
                    let values: Vec<_> = entries.into_iter().map(|entry| entry.map(|e| e.value)).collect();
                    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                    tokio::task::yield_now().await;
                }
            });
        }
        for round in 0..60 {
            if round % 10 == 9 {
                assert_eq!(store.delete_many(names.to_vec()).await, Ok(20));
            } else {
                let text = value(&round.to_string());
                let entries = names.iter().map(|key| (key.clone(), text.clone())).collect();
                store.set_many(entries, None).await.unwrap();
            }
        }
        is_done.store(true, Ordering::Release);
        readers.join_all().await;
    });
}

#[test]
fn a_listing_has_what_stays_once_while_others_come_and_go() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let stay: Vec<_> = (0..200).map(|n| key(&format!("k{n:03}"))).collect();
        store.set_many(stay.iter().map(|key| (key.clone(), value(""))).collect(), None).await.unwrap();
        let is_done = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for task in 0..4 {
            let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
            writers.spawn(async move {
                for n in (0..200).cycle() {
                    if is_done.load(Ordering::Acquire) {
                        return;
                    }
                    let passing = key(&format!("k{n:03}-{task}"));
                    store.set(passing.clone(), value(""), None).await.unwrap();
                    store.delete(passing).await.unwrap();
                }
            });
        }
        for _ in 0..20 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.list_keys("k", cursor.as_ref(), 7).await.unwrap();
                found.extend(page.keys);
                let Some(next) = page.next else { break };
                cursor = Some(next);
                tokio::task::yield_now().await;
            }
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
            let found: Vec<_> = found.into_iter().filter(|key| key.as_str().len() == 4).collect();
            assert_eq!(found, stay);
        }
        is_done.store(true, Ordering::Release);
        writers.join_all().await;
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 200, bytes: 800 });
    });
}

#[test]
fn a_write_that_was_given_up_before_it_was_polled_is_not_there() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        drop(store.set(key("a"), value("1"), None));
        store.set(key("b"), value("1"), None).await.unwrap();
        assert!(!store.exists(&key("a")).await.unwrap());
    });
}
