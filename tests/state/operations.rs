//! The effect of each operation, on every engine.

use std::time::Duration;

use lictor::state::{Blame, Expected, Namespace, Quota, StateError, Ttl, Usage, Version};

use crate::support::{bytes, kept, key, on_every_engine, text, ttl, value};

#[test]
fn what_was_set_is_there_until_it_is_deleted() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let name = key("a");
        assert_eq!(store.get(&name).await.unwrap(), None);
        assert!(!store.exists(&name).await.unwrap());
        assert!(!store.delete(name.clone()).await.unwrap());
        let first = store.set(name.clone(), value("1"), None).await.unwrap();
        let entry = store.get(&name).await.unwrap().unwrap();
        assert_eq!((entry.value.clone(), entry.version, entry.expires_at), (value("1"), first, None));
        let second = store.set(name.clone(), value(""), None).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(kept(&store, "a").await.as_deref(), Some(""));
        assert!(store.exists(&name).await.unwrap());
        assert!(store.delete(name.clone()).await.unwrap());
        assert!(!store.exists(&name).await.unwrap());
        assert_eq!(store.usage().await.unwrap(), Usage::default());
    });
}

#[test]
fn values_are_bytes_and_keys_may_be_of_any_script() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let any: Vec<u8> = (0..=255).collect();
        for name in ["%_'\"\\", "ключ", "a b", "\u{10ffff}", &"k".repeat(256)] {
            let written = lictor::state::Value::new(any.clone()).unwrap();
            store.set(key(name), written.clone(), None).await.unwrap();
            assert_eq!(store.get(&key(name)).await.unwrap().unwrap().value, written, "{name:?}");
        }
        store.set(key("large"), bytes(1 << 20), None).await.unwrap();
        assert_eq!(store.get(&key("large")).await.unwrap().unwrap().value, bytes(1 << 20));
    });
}

#[test]
fn namespaces_do_not_see_each_other() {
    on_every_engine(async |case| {
        // Pairs that would collide in a joined key.
        let names = [("a", "bc"), ("ab", "c"), ("a/b", "c"), ("a", "b/c"), ("abc", "")];
        for (plugin, store) in names {
            let store = case.engine.open(Namespace::new(plugin, store), Quota::default()).await.unwrap();
            assert!(!store.exists(&key("k")).await.unwrap());
            store.set(key("k"), value(plugin), None).await.unwrap();
        }
        for (plugin, store) in names {
            let store = case.engine.open(Namespace::new(plugin, store), Quota::default()).await.unwrap();
            assert_eq!(kept(&store, "k").await.as_deref(), Some(plugin));
            assert_eq!(store.usage().await.unwrap(), Usage { keys: 1, bytes: 1 + plugin.len() as u64 });
        }
    });
}

#[test]
fn many_are_read_in_the_order_asked_for() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let entries = vec![(key("a"), value("1")), (key("b"), value("2")), (key("a"), value("3"))];
        store.set_many(entries, None).await.unwrap();
        let got = store.get_many(&[key("b"), key("none"), key("a"), key("b")]).await.unwrap();
        let got: Vec<_> = got.into_iter().map(text).collect();
        let as_text = |text: &str| Some(text.to_owned());
        assert_eq!(got, [as_text("2"), None, as_text("3"), as_text("2")]);
        assert_eq!(store.get_many(&[]).await.unwrap(), []);
        let gone = store.delete_many(vec![key("a"), key("none"), key("a")]).await.unwrap();
        assert_eq!(gone, 1);
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 1, bytes: 2 });
    });
}

#[test]
fn keys_are_listed_in_order_page_by_page() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        case.store("other").await.set(key("p/0"), value(""), None).await.unwrap();
        for name in ["p/2", "p/1", "q", "p", "p/\u{10ffff}\u{10ffff}", "p/%", "P/1", "o", "p/_"] {
            store.set(key(name), value("x"), None).await.unwrap();
        }
        let all = store.list_keys("", None, 1000).await.unwrap();
        assert!(all.keys.is_sorted() && all.keys.len() == 9 && all.next.is_none());
        let wanted = ["p/%", "p/1", "p/2", "p/_", "p/\u{10ffff}\u{10ffff}"].map(key);
        for limit in 1..=6 {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = store.list_keys("p/", cursor.as_ref(), limit).await.unwrap();
                assert!(page.keys.len() <= limit);
                assert!(page.next.is_none() || page.next.as_ref() == page.keys.last());
                found.extend(page.keys);
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, wanted, "limit {limit}");
        }
        // A cursor outside the prefix, and one whose key is gone.
        assert_eq!(store.list_keys("p/", Some(&key("a")), 9).await.unwrap().keys, wanted);
        assert_eq!(store.list_keys("p/", Some(&key("z")), 9).await.unwrap().keys, []);
        store.delete(key("p/1")).await.unwrap();
        let rest = store.list_keys("p/", Some(&key("p/1")), 9).await.unwrap();
        assert_eq!(rest.keys, wanted[2..]);
        assert_eq!(store.list_keys("p/", None, 0).await.unwrap().keys.len(), 1);
        assert_eq!(store.list_keys("nothing", None, 9).await.unwrap(), lictor::state::Page::default());
    });
}

#[test]
fn numbers_are_added_to() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        assert_eq!(store.increment(key("n"), 5).await, Ok(5));
        assert_eq!(store.increment(key("n"), -7).await, Ok(-2));
        assert_eq!(store.increment_to(key("n"), 1, 0).await, Err(StateError::Overflow));
        assert_eq!(store.increment_to(key("n"), 1, -1).await, Ok(-1), "what is refused changes nothing");
        assert_eq!(store.increment_to(key("n"), -1, i64::MIN).await, Ok(-2));
        assert_eq!(kept(&store, "n").await.as_deref(), Some("-2"));
        store.set(key("n"), value(&i64::MAX.to_string()), None).await.unwrap();
        assert_eq!(store.increment(key("n"), 0).await, Ok(i64::MAX));
        let before = store.get(&key("n")).await.unwrap();
        assert_eq!(store.increment(key("n"), 1).await, Err(StateError::Overflow));
        assert_eq!(store.get(&key("n")).await.unwrap(), before);
        store.set(key("n"), value(&i64::MIN.to_string()), None).await.unwrap();
        assert_eq!(store.increment(key("n"), -1).await, Err(StateError::Overflow));
        for text in ["", " 1", "1 ", "1.0", "0x1", "one", "9223372036854775808", "\u{661}"] {
            store.set(key("n"), value(text), None).await.unwrap();
            assert_eq!(store.increment(key("n"), 1).await, Err(StateError::NotANumber), "{text:?}");
            assert_eq!(kept(&store, "n").await.as_deref(), Some(text));
        }
        store.set(key("n"), lictor::state::Value::new(vec![0xff]).unwrap(), None).await.unwrap();
        assert_eq!(store.increment(key("n"), 1).await, Err(StateError::NotANumber));
    });
}

#[test]
fn a_compare_and_set_wants_what_is_there() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let set = |expected, text| store.compare_and_set(key("a"), expected, value(text), None);
        let conflict = |current| Err(StateError::Conflict { current });
        assert_eq!(set(Expected::Version(Version::from_u64(1)), "0").await, conflict(None));
        let first = set(Expected::Absent, "1").await.unwrap();
        assert_eq!(set(Expected::Absent, "2").await, conflict(Some(first)));
        let second = set(Expected::Version(first), "2").await.unwrap();
        assert_eq!(set(Expected::Version(first), "3").await, conflict(Some(second)));
        assert_eq!(kept(&store, "a").await.as_deref(), Some("2"));
        let delete = |version| store.compare_and_delete(key("a"), version);
        assert_eq!(delete(first).await, Err(StateError::Conflict { current: Some(second) }));
        assert_eq!(delete(second).await, Ok(()));
        assert_eq!(delete(second).await, Err(StateError::Conflict { current: None }));
        // Written again, with the same value: not the entry that was meant.
        let third = store.set(key("a"), value("2"), None).await.unwrap();
        assert_eq!(delete(second).await, Err(StateError::Conflict { current: Some(third) }));
    });
}

#[test]
fn entries_expire_to_the_millisecond() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let name = key("a");
        let version = store.set(name.clone(), value("1"), ttl(100)).await.unwrap();
        store.set(key("b"), value("stays"), None).await.unwrap();
        case.clock.advance(99);
        assert_eq!(kept(&store, "a").await.as_deref(), Some("1"));
        case.clock.advance(1);
        assert_eq!(store.get(&name).await.unwrap(), None);
        assert!(!store.exists(&name).await.unwrap());
        assert_eq!(store.get_many(std::slice::from_ref(&name)).await.unwrap(), [None]);
        assert_eq!(store.list_keys("", None, 9).await.unwrap().keys, [key("b")]);
        assert_eq!(store.touch(name.clone(), None).await, Ok(None));
        let gone = Err(StateError::Conflict { current: None });
        assert_eq!(store.compare_and_delete(name.clone(), version).await, gone);
        assert!(!store.delete(name.clone()).await.unwrap());
        assert_eq!(store.increment(name.clone(), 3).await, Ok(3));
        store.set(name.clone(), value("1"), ttl(1)).await.unwrap();
        case.clock.advance(1);
        store.compare_and_set(name.clone(), Expected::Absent, value("2"), ttl(1)).await.unwrap();
        case.clock.advance(1);
        case.engine.sweep().await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 1, bytes: 6 });
    });
}

#[test]
fn an_expiry_is_kept_changed_and_taken_away() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let name = key("n");
        let expiry = async || store.get(&name).await.unwrap().unwrap().expires_at;
        store.set(name.clone(), value("1"), ttl(100)).await.unwrap();
        let at = expiry().await;
        assert!(at.is_some());
        case.clock.advance(10);
        store.increment(name.clone(), 1).await.unwrap();
        assert_eq!(expiry().await, at);
        let before = store.get(&name).await.unwrap().unwrap().version;
        let touched = store.touch(name.clone(), ttl(100)).await.unwrap().unwrap();
        assert_ne!(before, touched);
        assert_eq!(expiry().await.unwrap().as_ms(), at.unwrap().as_ms() + 10);
        assert_eq!(kept(&store, "n").await.as_deref(), Some("2"));
        store.touch(name.clone(), None).await.unwrap();
        assert_eq!(expiry().await, None);
        store.set(name.clone(), value("1"), ttl(100)).await.unwrap();
        store.set(name.clone(), value("1"), None).await.unwrap();
        assert_eq!(expiry().await, None);
        store.set_many(vec![(name.clone(), value("1"))], Some(Ttl::new(Ttl::MAX).unwrap())).await.unwrap();
        let ten_years = u64::try_from(Ttl::MAX.as_millis()).unwrap();
        case.clock.advance(ten_years - 1);
        assert!(store.exists(&name).await.unwrap());
        case.clock.advance(1);
        assert!(!store.exists(&name).await.unwrap());
        assert_eq!(Ttl::new(Duration::ZERO), Err(StateError::InvalidTtl));
    });
}

#[test]
fn a_closed_engine_takes_no_writes_and_says_so() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        store.set(key("a"), value("1"), None).await.unwrap();
        case.engine.close().await.unwrap();
        let error = store.set(key("a"), value("2"), None).await.unwrap_err();
        assert_eq!(error.to_string(), "state is unavailable: the engine is closed");
        assert_eq!(error.blame(), Blame::Operator);
        assert_eq!(error.plain(), "state is unavailable; try again later");
        assert_eq!(kept(&store, "a").await.as_deref(), Some("1"));
        case.engine.close().await.unwrap();
    });
}
