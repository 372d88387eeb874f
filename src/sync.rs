//! Locks that outlive a panic.
//!
//! Knows nothing of what they guard. Otherwise a thread that panics while it holds one would fail all later
//! users. So code under such a lock must leave the content consistent at every step: mostly it is one call of
//! a collection.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, even if a thread panicked while holding it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
