//! Locks that outlive a panic.
//!
//! Knows nothing of what they guard. A thread that panics while it holds one would otherwise take down everyone who comes
//! later. So whatever is done under such a lock leaves its content whole at every step: mostly one call of a collection.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also where a thread panicked while it held it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
