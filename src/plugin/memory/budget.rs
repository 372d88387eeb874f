//! The bound on the memory of all instances together, running and idle.
//!
//! The budget covers memory that instances may touch, not memory that they did touch. At the bound, warm
//! instances are dropped, longest idle first; unlike running ones, they are only a convenience.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::time::Instant;

use crate::sync::locked;
use crate::telemetry::metrics::Counter;
use crate::watermark;

/// A pool of idle instances, whose memory can be reclaimed.
pub(in crate::plugin) trait Reclaim: Send + Sync {
    /// Returns the time of last use of the instance that has been idle for longest.
    fn oldest(&self) -> Option<Instant>;

    /// Drops that instance; returns true if there was one.
    fn give_up_oldest(&self) -> bool;
}

/// Memory for all instances.
#[derive(Default)]
pub(in crate::plugin) struct Budget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
    /// True if charges continue above the mark of the process's memory.
    is_for_loading: bool,
    /// Pools whose idle instances may be dropped. Locked only to load a plugin and when memory is short.
    pools: Mutex<Vec<Weak<dyn Reclaim>>>,
}

/// No memory is left for plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum BudgetSpent {
    /// Plugins have used their whole budget.
    #[error("the memory for all plugins, {max_bytes} bytes, is used up (limits.plugin_memory)")]
    Plugins {
        /// The budget.
        max_bytes: usize,
    },
    /// The process has reached its own limit.
    #[error("the process holds as much memory as it may (limits.process_memory)")]
    Process,
}

impl Budget {
    pub(in crate::plugin) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// A budget for loading plugins, one at a time: an operator above the mark may need it to get below.
    pub(in crate::plugin) fn for_loading(max_bytes: usize) -> Self {
        Self { max_bytes, is_for_loading: true, ..Self::default() }
    }

    /// Returns true if the process holds too much memory for any further charge.
    fn is_withheld(&self) -> bool {
        !self.is_for_loading && watermark::is_passed()
    }

    /// Allows dropping the idle instances of `pool` from now on.
    pub(in crate::plugin) fn watch(&self, pool: Arc<dyn Reclaim>) {
        let mut pools = locked(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
    }

    /// Takes `bytes`, dropping idle instances if too few are left.
    pub(in crate::plugin) fn charge(&self, bytes: usize) -> Result<(), BudgetSpent> {
        if self.is_withheld() {
            return Err(BudgetSpent::Process);
        }
        while !self.try_charge(bytes) {
            if bytes > self.max_bytes || !self.give_up_oldest() {
                Counter::PluginMemoryUsedUp.count();
                return Err(self.spent());
            }
        }
        Ok(())
    }

    /// The error for a spent budget.
    pub(in crate::plugin) fn spent(&self) -> BudgetSpent {
        match self.is_withheld() {
            true => BudgetSpent::Process,
            false => BudgetSpent::Plugins { max_bytes: self.max_bytes },
        }
    }

    /// Gives back `bytes` that were taken.
    pub(in crate::plugin) fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Drops all idle instances, of all plugins.
    pub(in crate::plugin) fn give_up_idle(&self) {
        while self.give_up_oldest() {}
    }

    /// Drops the instance that has been idle for longest, of all plugins. Returns true if there was one.
    pub(in crate::plugin) fn give_up_oldest(&self) -> bool {
        let pools: Vec<_> = {
            let pools = locked(&self.pools);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        let oldest = pools.iter().filter_map(|pool| Some((pool.oldest()?, pool))).min_by_key(|(at, _)| *at);
        let Some((_, pool)) = oldest else { return false };
        // If another thread was faster, there is room now, or another instance.
        if pool.give_up_oldest() {
            Counter::IdleInstancesGivenUp.count();
        }
        true
    }

    /// Adds all of `bytes` or nothing, so that a large charge that fails does not make others fail meanwhile.
    fn try_charge(&self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_given_once() {
        let budget = Budget::new(100);
        assert_eq!(budget.charge(60), Ok(()));
        assert_eq!(budget.charge(41), Err(BudgetSpent::Plugins { max_bytes: 100 }));
        assert_eq!(budget.charge(usize::MAX), Err(BudgetSpent::Plugins { max_bytes: 100 }));
        assert_eq!(budget.charge(40), Ok(()));
        budget.give_back(60);
        assert_eq!(budget.charge(60), Ok(()));
    }
}
