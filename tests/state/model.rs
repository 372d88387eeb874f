//! Random operations on every engine and on a simple map: all must agree on every answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use lictor::state::{Expected, Quota, QuotaKind, StateError, Store, Usage, Version};
use proptest::prelude::*;

use crate::support::{Case, cases, key, run, text, ttl, value};

const QUOTA: Quota = Quota { max_keys: 5, max_bytes: 40 };

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    List(u8, u8),
    Set(u8, String, Option<u64>),
    SetMany(Vec<(u8, String)>, Option<u64>),
    Delete(u8),
    DeleteMany(Vec<u8>),
    Increment(u8, i64),
    /// With the current version, with another one, or for an absent entry.
    Compare(u8, u8, Option<String>, Option<u64>),
    Touch(u8, Option<u64>),
    Wait(u64),
    Sweep,
    Reopen(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..7_u8;
    let text = || prop_oneof!["[a-z]{0,12}", "-?[0-9]{1,3}", Just("9223372036854775807".to_owned())];
    let ttl = || proptest::option::of(1..30_u64);
    prop_oneof![
        2 => name().prop_map(Step::Get),
        1 => (0..3_u8, 1..4_u8).prop_map(|(prefix, limit)| Step::List(prefix, limit)),
        4 => (name(), text(), ttl()).prop_map(|(name, text, ttl)| Step::Set(name, text, ttl)),
        2 => (prop::collection::vec((name(), text()), 0..5), ttl()).prop_map(|(all, ttl)| Step::SetMany(all, ttl)),
        2 => name().prop_map(Step::Delete),
        1 => prop::collection::vec(name(), 0..5).prop_map(Step::DeleteMany),
        3 => (name(), prop_oneof![-5..5_i64, Just(i64::MAX)]).prop_map(|(name, by)| Step::Increment(name, by)),
        3 => (name(), 0..3_u8, proptest::option::of(text()), ttl())
            .prop_map(|(name, way, text, ttl)| Step::Compare(name, way, text, ttl)),
        1 => (name(), ttl()).prop_map(|(name, ttl)| Step::Touch(name, ttl)),
        2 => (1..20_u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

#[derive(Default, Clone)]
struct Model {
    now: u64,
    entries: BTreeMap<String, (String, Option<u64>)>,
}

impl Model {
    fn forget(&mut self) {
        let now = self.now;
        self.entries.retain(|_, (_, at)| at.is_none_or(|at| at > now));
    }

    fn usage(&self) -> Usage {
        let bytes = self.entries.iter().map(|(name, (text, _))| name.len() + text.len()).sum::<usize>();
        Usage { keys: self.entries.len() as u64, bytes: bytes as u64 }
    }

    /// Becomes `after` if the quota allows it.
    fn become_if_room(&mut self, after: Self, quota: Quota) -> Result<(), StateError> {
        let (old, new) = (self.usage(), after.usage());
        let refuse = |kind, limit, needed| Err(StateError::QuotaExceeded { kind, limit, needed });
        if new.keys > quota.max_keys && new.keys > old.keys {
            return refuse(QuotaKind::Keys, quota.max_keys, new.keys);
        }
        if new.bytes > quota.max_bytes && new.bytes > old.bytes {
            return refuse(QuotaKind::Bytes, quota.max_bytes, new.bytes);
        }
        *self = after;
        Ok(())
    }

    fn put(&mut self, entries: &[(String, String)], at: Option<u64>, quota: Quota) -> Result<(), StateError> {
        let mut after = self.clone();
        for (name, text) in entries {
            after.entries.insert(name.clone(), (text.clone(), at));
        }
        self.become_if_room(after, quota)
    }
}

/// Names, some of which are prefixes of others.
fn name(number: u8) -> String {
    ["a", "ab", "abc", "b", "ba", "é", "z"][usize::from(number)].to_owned()
}

struct Run<'a> {
    case: &'a Case,
    store: Arc<dyn Store>,
    model: Model,
    quota: Quota,
}

impl Run<'_> {
    async fn take(&mut self, step: Step) {
        self.model.forget();
        let now = self.model.now;
        let at = |ttl: Option<u64>| ttl.map(|ttl| now + ttl);
        let life = |ms: Option<u64>| ms.and_then(ttl);
        let (store, quota) = (&self.store, self.quota);
        match step {
            Step::Get(n) => {
                let wanted = self.model.entries.get(&name(n)).map(|(text, _)| text.clone());
                assert_eq!(store.exists(&key(&name(n))).await.unwrap(), wanted.is_some());
                assert_eq!(text(store.get(&key(&name(n))).await.unwrap()), wanted);
            }
            Step::List(prefix, limit) => self.list(&"ab"[..usize::from(prefix)], usize::from(limit)).await,
            Step::Set(n, text, ttl) => {
                let wanted = self.model.put(&[(name(n), text.clone())], at(ttl), quota);
                assert_eq!(store.set(key(&name(n)), value(&text), life(ttl)).await.map(drop), wanted);
            }
            Step::SetMany(all, ttl) => {
                let all: Vec<_> = all.into_iter().map(|(n, text)| (name(n), text)).collect();
                let wanted = self.model.put(&all, at(ttl), quota);
                let all = all.iter().map(|(name, text)| (key(name), value(text))).collect();
                assert_eq!(store.set_many(all, life(ttl)).await, wanted);
            }
            Step::Delete(n) => {
                let wanted = self.model.entries.remove(&name(n)).is_some();
                assert_eq!(store.delete(key(&name(n))).await, Ok(wanted));
            }
            Step::DeleteMany(all) => {
                let wanted = all.iter().filter(|n| self.model.entries.remove(&name(**n)).is_some()).count();
                let all = all.iter().map(|n| key(&name(*n))).collect();
                assert_eq!(store.delete_many(all).await, Ok(wanted as u64));
            }
            Step::Increment(n, by) => {
                let wanted = self.sum(&name(n), by);
                assert_eq!(self.store.increment(key(&name(n)), by).await, wanted);
            }
            Step::Compare(n, way, text, ttl) => self.compare(&name(n), way, text, ttl).await,
            Step::Touch(n, ttl) => {
                let there = self.model.entries.get_mut(&name(n)).map(|entry| entry.1 = at(ttl));
                let touched = store.touch(key(&name(n)), life(ttl)).await.unwrap();
                assert_eq!(touched.is_some(), there.is_some());
            }
            Step::Wait(ms) => {
                self.model.now += ms;
                self.case.clock.advance(ms);
            }
            Step::Sweep => {
                self.case.engine.sweep().await.unwrap();
                assert_eq!(store.usage().await.unwrap(), self.model.usage());
            }
            Step::Reopen(is_small) => {
                self.quota = if is_small { QUOTA } else { Quota::default() };
                self.store = self.case.store_with("s", self.quota).await;
            }
        }
    }

    fn sum(&mut self, name: &str, by: i64) -> Result<i64, StateError> {
        let (text, at) = self.model.entries.get(name).cloned().unwrap_or(("0".to_owned(), None));
        let number: i64 = text.parse().map_err(|_| StateError::NotANumber)?;
        let sum = number.checked_add(by).ok_or(StateError::Overflow)?;
        self.model.put(&[(name.to_owned(), sum.to_string())], at, self.quota)?;
        Ok(sum)
    }

    async fn list(&self, prefix: &str, limit: usize) {
        let names = self.model.entries.keys().filter(|name| name.starts_with(prefix));
        let wanted: Vec<_> = names.map(|name| key(name)).collect();
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store.list_keys(prefix, cursor.as_ref(), limit).await.unwrap();
            found.extend(page.keys);
            let Some(next) = page.next else { break };
            cursor = Some(next);
        }
        assert_eq!(found, wanted);
    }

    async fn compare(&mut self, name: &str, way: u8, text: Option<String>, life: Option<u64>) {
        let current = self.store.get(&key(name)).await.unwrap().map(|entry| entry.version);
        let expected = match (way, current) {
            (0, Some(version)) => Expected::Version(version),
            (1, _) => Expected::Version(Version::from_u64(u64::MAX)),
            _ => Expected::Absent,
        };
        let fits = match expected {
            Expected::Absent => current.is_none(),
            Expected::Version(version) => current == Some(version),
        };
        let conflict = Err(StateError::Conflict { current });
        match (text, expected) {
            (Some(text), _) => {
                let at = life.map(|ms| self.model.now + ms);
                let all = [(name.to_owned(), text.clone())];
                let wanted = if fits { self.model.put(&all, at, self.quota) } else { conflict };
                let life = life.and_then(ttl);
                let set = self.store.compare_and_set(key(name), expected, value(&text), life).await;
                assert_eq!(set.map(drop), wanted);
            }
            (None, Expected::Version(version)) => {
                let wanted = if fits { Ok(()) } else { conflict };
                if fits {
                    self.model.entries.remove(name);
                }
                assert_eq!(self.store.compare_and_delete(key(name), version).await, wanted);
            }
            (None, Expected::Absent) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        for (_, case) in cases() {
            run(async {
                let store = case.store_with("s", QUOTA).await;
                let mut run = Run { case: &case, store, model: Model::default(), quota: QUOTA };
                for step in steps.clone() {
                    run.take(step).await;
                }
                run.take(Step::List(0, 3)).await;
                run.take(Step::Sweep).await;
            });
        }
    }
}
