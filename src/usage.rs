//! Notes of use: the last minute in which an entry of the config was used.
//!
//! An entry is a text that an operator can delete alone: a client's pattern or role, a plugin's command.
//! Code that permits something by an entry holds a [`Used`] of it, beside the entry in an [`Observed`], and
//! [notes](Used::note) the use. That costs a warm request a few instructions: the [`Clock`] is a number that
//! a task sets now and then, so a note compares two numbers, and stores one in the first use of a minute.
//!
//! Knows neither the entries nor who reads the notes. A value that nobody observes is noted nowhere.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The current minute since 1970. 0 until it is set, and then nothing is noted.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU32>);

impl Clock {
    /// Sets the minute.
    pub fn set(&self, minute: u32) {
        self.0.store(minute, Ordering::Relaxed);
    }

    /// Returns the minute.
    #[must_use]
    pub fn minute(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last use of an entry.
#[derive(Debug)]
pub struct LastUse {
    clock: Clock,
    /// 0 for never.
    minute: AtomicU32,
}

impl LastUse {
    /// An entry that was never used.
    #[must_use]
    pub fn never(clock: &Clock) -> Self {
        Self { clock: clock.clone(), minute: AtomicU32::new(0) }
    }

    /// Returns the minute of the last use; `None` if there was none.
    #[must_use]
    pub fn minute(&self) -> Option<u32> {
        Some(self.minute.load(Ordering::Relaxed)).filter(|minute| *minute > 0)
    }

    /// Replaces the minute of the last use.
    pub fn set(&self, minute: Option<u32>) {
        self.minute.store(minute.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Notes a use now. Concurrent notes differ by a minute at most, so it does not matter which one stays.
    fn note(&self) {
        let now = self.clock.minute();
        if self.minute.load(Ordering::Relaxed) != now {
            self.minute.store(now, Ordering::Relaxed);
        }
    }
}

/// The entries that are used together: none, one, or two, as a role's pattern and the client's role.
#[derive(Clone, Debug, Default)]
pub struct Used([Option<Arc<LastUse>>; 2]);

impl Used {
    /// Two entries that are used together.
    #[must_use]
    pub fn both(one: Arc<LastUse>, other: Arc<LastUse>) -> Self {
        Self([Some(one), Some(other)])
    }

    /// Notes that they are used now.
    pub fn note(&self) {
        self.0.iter().flatten().for_each(|entry| entry.note());
    }
}

impl From<Arc<LastUse>> for Used {
    fn from(entry: Arc<LastUse>) -> Self {
        Self([Some(entry), None])
    }
}

/// A value that is granted by an entry. Reading it is no use: code that acts on it [notes](Self::note) that.
#[derive(Clone, Debug, Default)]
pub struct Observed<T> {
    value: T,
    used: Used,
}

impl<T> Observed<T> {
    /// A value, and the entries that grant it.
    pub fn new(value: T, used: Used) -> Self {
        Self { value, used }
    }

    /// Returns another form of the value, granted by the same entries.
    pub fn filter_map<U>(&self, form: impl FnOnce(&T) -> Option<U>) -> Option<Observed<U>> {
        Some(Observed { value: form(&self.value)?, used: self.used.clone() })
    }

    /// Notes that it is used now, and returns it.
    pub fn note(&self) -> &T {
        self.used.note();
        &self.value
    }
}

impl<T> Deref for Observed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value that nobody observes.
impl<T> From<T> for Observed<T> {
    fn from(value: T) -> Self {
        Self { value, used: Used::default() }
    }
}

/// Compares the values alone.
impl<T: PartialEq> PartialEq for Observed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Observed<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_the_minute_of_the_last_use() {
        let clock = Clock::default();
        let entries = [(); 3].map(|()| Arc::new(LastUse::never(&clock)));
        let [own, role, other] = &entries;
        let minutes = || entries.each_ref().map(|entry| entry.minute());
        let alone = Observed::new("value", Used::from(Arc::clone(own)));
        let both = Used::both(Arc::clone(own), Arc::clone(role));
        alone.note();
        assert_eq!(minutes(), [None; 3], "the clock is not set");
        clock.set(7);
        assert_eq!((*alone.note(), minutes()), ("value", [Some(7), None, None]));
        clock.set(8);
        both.note();
        alone.note();
        assert_eq!(minutes(), [Some(8), Some(8), None]);
        // The clock was set back.
        clock.set(5);
        both.note();
        Used::default().note();
        Observed::from(1).note();
        assert_eq!(minutes(), [Some(5), Some(5), None]);
        other.set(Some(3));
        assert_eq!(other.minute(), Some(3));
        other.set(None);
        assert_eq!(other.minute(), None);
    }
}
