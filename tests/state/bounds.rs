//! Quotas and sizes at their edges, on every engine; a refused write leaves no trace.

use lictor::state::{
    Blame, Expected, MAX_BYTES_PER_CALL, MAX_KEYS_PER_CALL, Quota, QuotaKind, StateError, Usage, Value,
};

use crate::support::{bytes, kept, key, on_every_engine, ttl, value};

fn full(kind: QuotaKind, limit: u64, needed: u64) -> StateError {
    StateError::QuotaExceeded { kind, limit, needed }
}

#[test]
fn the_last_key_fits_and_one_more_does_not() {
    on_every_engine(async |case| {
        let store = case.store_with("s", Quota { max_keys: 2, max_bytes: 1000 }).await;
        store.set(key("a"), value("1"), None).await.unwrap();
        store.set(key("b"), value("1"), None).await.unwrap();
        let refused = full(QuotaKind::Keys, 2, 3);
        assert_eq!(store.set(key("c"), value("1"), None).await, Err(refused.clone()));
        assert_eq!(store.increment(key("c"), 1).await, Err(refused.clone()));
        let set = store.compare_and_set(key("c"), Expected::Absent, value("1"), None);
        assert_eq!(set.await, Err(refused.clone()));
        assert_eq!(refused.blame(), Blame::Plugin);
        assert_eq!(refused.plain(), "the store's quota of 2 keys is used up: the write would make it 3");
        // Overwriting a key does not add one.
        store.set(key("a"), value("22"), None).await.unwrap();
        store.delete(key("b")).await.unwrap();
        store.set(key("c"), value("1"), None).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 2, bytes: 5 });
    });
}

#[test]
fn the_last_byte_fits_and_one_more_does_not() {
    on_every_engine(async |case| {
        let store = case.store_with("s", Quota { max_keys: 9, max_bytes: 100 }).await;
        assert_eq!(store.set(key("a"), bytes(100), None).await, Err(full(QuotaKind::Bytes, 100, 101)));
        store.set(key("a"), bytes(99), None).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 1, bytes: 100 });
        assert_eq!(store.set(key("a"), bytes(100), None).await, Err(full(QuotaKind::Bytes, 100, 101)));
        assert_eq!(store.set(key("b"), bytes(0), None).await, Err(full(QuotaKind::Bytes, 100, 101)));
        store.set(key("a"), bytes(97), None).await.unwrap();
        store.set(key("n"), value("9"), None).await.unwrap();
        // 9 becomes 10: one byte more.
        assert_eq!(store.increment(key("n"), 1).await, Err(full(QuotaKind::Bytes, 100, 101)));
        assert_eq!(store.increment(key("n"), -9).await, Ok(0));
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 2, bytes: 100 });
    });
}

#[test]
fn many_are_written_as_a_whole_or_not_at_all() {
    on_every_engine(async |case| {
        let store = case.store_with("s", Quota { max_keys: 3, max_bytes: 100 }).await;
        store.set(key("a"), value("old"), None).await.unwrap();
        let before = (store.get(&key("a")).await.unwrap(), store.usage().await.unwrap());
        let four = ["a", "b", "c", "d"].map(|name| (key(name), value("new")));
        assert_eq!(store.set_many(four.to_vec(), None).await, Err(full(QuotaKind::Keys, 3, 4)));
        let large = vec![(key("a"), value("new")), (key("b"), bytes(96))];
        assert_eq!(store.set_many(large, None).await, Err(full(QuotaKind::Bytes, 100, 101)));
        assert_eq!((store.get(&key("a")).await.unwrap(), store.usage().await.unwrap()), before);
        assert_eq!(store.list_keys("", None, 9).await.unwrap().keys, [key("a")]);
        // Only the result counts, not the intermediate state.
        store.set_many(vec![(key("a"), value("")), (key("b"), bytes(98))], None).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 2, bytes: 100 });
        store.set_many(vec![(key("a"), bytes(98)), (key("b"), value(""))], None).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 2, bytes: 100 });
        store.set_many(four[..3].to_vec(), None).await.unwrap();
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 3, bytes: 12 });
        store.set_many(Vec::new(), None).await.unwrap();
    });
}

#[test]
fn what_has_expired_is_in_nobodys_way() {
    on_every_engine(async |case| {
        let store = case.store_with("s", Quota { max_keys: 600, max_bytes: 100_000 }).await;
        let old = (0..600).map(|n| (key(&format!("old{n}")), value("x"))).collect();
        store.set_many(old, ttl(10)).await.unwrap();
        assert_eq!(store.set(key("new"), value("1"), None).await, Err(full(QuotaKind::Keys, 600, 601)));
        case.clock.advance(10);
        let new = (0..600).map(|n| (key(&format!("new{n}")), value("x"))).collect();
        store.set_many(new, None).await.unwrap();
        assert_eq!(store.usage().await.unwrap().keys, 600);
        assert_eq!(store.list_keys("old", None, 1000).await.unwrap().keys, []);
        // Overwriting an expired entry counts it once.
        store.touch(key("new0"), ttl(10)).await.unwrap();
        case.clock.advance(10);
        store.set(key("new0"), value("xyz"), None).await.unwrap();
        let bytes: u64 = (0..600).map(|n| format!("new{n}").len() as u64 + 1).sum::<u64>() + 2;
        assert_eq!(store.usage().await.unwrap(), Usage { keys: 600, bytes });
    });
}

#[test]
fn with_a_lowered_quota_a_store_can_still_shrink() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        for name in ["a", "b", "c"] {
            store.set(key(name), bytes(50), None).await.unwrap();
        }
        let store = case.store_with("s", Quota { max_keys: 1, max_bytes: 10 }).await;
        assert!(store.set(key("d"), value("1"), None).await.is_err());
        assert!(store.set(key("a"), bytes(51), None).await.is_err());
        store.set(key("a"), bytes(50), None).await.unwrap();
        store.set(key("a"), bytes(49), None).await.unwrap();
        store.touch(key("a"), ttl(5)).await.unwrap();
        assert_eq!(store.delete_many(vec![key("b"), key("c")]).await, Ok(2));
    });
}

#[test]
fn calls_are_bounded() {
    on_every_engine(async |case| {
        let store = case.store("s").await;
        let keys: Vec<_> = (0..=MAX_KEYS_PER_CALL).map(|n| key(&format!("k{n:04}"))).collect();
        let too_many = StateError::TooLarge { what: "a call in keys", size: 1001, limit: 1000 };
        assert_eq!(store.get_many(&keys).await, Err(too_many.clone()));
        assert_eq!(store.delete_many(keys.clone()).await, Err(too_many.clone()));
        let entries: Vec<_> = keys.iter().map(|key| (key.clone(), value("1"))).collect();
        assert_eq!(store.set_many(entries.clone(), None).await, Err(too_many));
        store.set_many(entries[..1000].to_vec(), None).await.unwrap();
        store.set(keys[1000].clone(), value("1"), None).await.unwrap();
        let page = store.list_keys("", None, usize::MAX).await.unwrap();
        assert_eq!((page.keys.len(), page.next.as_ref()), (1000, page.keys.last()));
        assert_eq!(store.get_many(&keys[..1000]).await.unwrap().iter().flatten().count(), 1000);
        assert_eq!(store.delete_many(keys[..1000].to_vec()).await, Ok(1000));

        let mib = |n: usize| (key(&format!("m{n}")), bytes(1 << 20));
        let large: Vec<_> = (0..16).map(mib).collect();
        let refused = store.set_many(large.clone(), None).await.unwrap_err();
        let size = (16 << 20) + 10 * 2 + 6 * 3;
        let limit = MAX_BYTES_PER_CALL as u64;
        assert_eq!(refused, StateError::TooLarge { what: "a call in bytes", size, limit });
        store.set_many(large[..15].to_vec(), None).await.unwrap();
        let names: Vec<_> = (0..15).map(|n| mib(n).0).collect();
        assert_eq!(store.get_many(&names).await.unwrap().len(), 15);
        store.set_many(large[15..].to_vec(), None).await.unwrap();
        store.set(key("m16"), value("1"), None).await.unwrap();
        let names: Vec<_> = (0..17).map(|n| mib(n).0).collect();
        assert!(matches!(store.get_many(&names).await, Err(StateError::TooLarge { .. })));
        assert!(Value::new(vec![0; (1 << 20) + 1]).is_err());
        assert_eq!(kept(&store, "m16").await.as_deref(), Some("1"));
    });
}
