//! A handle of `wasi:keyvalue` on a store, with the cursors of its listings.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::state::{Key, Store};
use crate::sync::locked;

/// A plugin's handle on a store.
#[derive(Clone)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Bucket {
    /// The name under which it was opened.
    pub(super) name: Arc<str>,
    pub(super) store: Arc<dyn Store>,
    /// Ends of pages of a listing: WASI's cursors are numbers, counted from 1 here, and each stands for a
    /// key. Only the last [`MAX_CURSORS`] are kept.
    cursors: Arc<Mutex<Cursors>>,
}

impl Bucket {
    pub(super) fn new(name: String, store: Arc<dyn Store>) -> Self {
        Self { name: name.into(), store, cursors: Arc::default() }
    }

    /// Replaces its store by another handle on the same.
    pub(super) fn with_store(self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self }
    }

    pub(super) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        locked(&self.cursors)
    }
}

#[derive(Default)]
pub(super) struct Cursors {
    count: u64,
    last: VecDeque<Key>,
}

/// Maximum bytes of one cursor.
const CURSOR_BYTES: usize = Key::MAX_BYTES + 64;

/// Listings that may be under way at once on one handle.
const MAX_CURSORS: usize = 64;

impl Cursors {
    pub(super) fn add(&mut self, key: Key) -> u64 {
        if self.last.len() == MAX_CURSORS {
            self.last.pop_front();
        }
        self.last.push_back(key);
        self.count += 1;
        self.count
    }

    pub(super) fn find(&self, number: u64) -> Option<Key> {
        let age = usize::try_from(self.count.checked_sub(number)?).ok()?;
        let index = self.last.len().checked_sub(age + 1)?;
        self.last.get(index).cloned()
    }
}

/// Bytes that `entry` takes, if it is a handle on a store.
pub(super) fn held_bytes(entry: &(dyn Any + Send)) -> Option<usize> {
    entry.downcast_ref::<Bucket>().map(|bucket| bucket.cursors().last.len() * CURSOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_found_while_they_are_among_the_last() {
        let mut cursors = Cursors::default();
        let key = |number: usize| Key::new(&format!("k{number}")).unwrap();
        assert!(cursors.find(0).is_none() && cursors.find(1).is_none());
        for number in 1..=MAX_CURSORS + 2 {
            assert_eq!(cursors.add(key(number)), number as u64);
        }
        assert_eq!(cursors.find(2), None);
        assert_eq!(cursors.find(3), Some(key(3)));
        assert_eq!(cursors.find(MAX_CURSORS as u64 + 2), Some(key(MAX_CURSORS + 2)));
        assert_eq!(cursors.find(MAX_CURSORS as u64 + 3), None);
        assert_eq!(cursors.find(u64::MAX), None);
    }
}
