//! The bound on the memory of all instances together, those that run and those that stand idle.
//!
//! What is charged here is what instances may touch, not what they did. At the bound, warm instances are given up, the
//! one first that was idle for longest; they are a convenience, and what runs is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::plugin::pool::Pool;
use crate::sync::locked;
use crate::telemetry::metrics::Counter;
use crate::watermark;

/// Memory for all instances.
#[derive(Default)]
pub(in crate::plugin) struct Budget {
    max_bytes: usize,
    used_bytes: AtomicUsize,
    /// Whether it goes on above the mark of the process's memory.
    is_for_loading: bool,
    /// Whose idle instances may be given up. Locked where a plugin is loaded and where memory is short, never else.
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// There is no memory for plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum BudgetSpent {
    /// They have all that they may have.
    #[error("the memory for all plugins, {max_bytes} bytes, is used up (limits.plugin_memory)")]
    Plugins {
        /// Which is this much.
        max_bytes: usize,
    },
    /// The process has.
    #[error("the process holds as much memory as it may (limits.process_memory)")]
    Process,
}

impl Budget {
    pub(in crate::plugin) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// A budget for plugins that are loaded, one at a time: an operator may need that above the mark to get below it.
    pub(in crate::plugin) fn for_loading(max_bytes: usize) -> Self {
        Self { max_bytes, is_for_loading: true, ..Self::default() }
    }

    /// Whether the process holds too much for anything to be given.
    fn is_withheld(&self) -> bool {
        !self.is_for_loading && watermark::is_passed()
    }

    /// From now on the idle instances of `pool` may be given up.
    pub(in crate::plugin) fn watch(&self, pool: &Arc<Pool>) {
        let mut pools = locked(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Takes `bytes`, giving up idle instances where there is not enough.
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

    /// What is said when there is none left.
    pub(in crate::plugin) fn spent(&self) -> BudgetSpent {
        match self.is_withheld() {
            true => BudgetSpent::Process,
            false => BudgetSpent::Plugins { max_bytes: self.max_bytes },
        }
    }

    /// Gives back what was taken.
    pub(in crate::plugin) fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Drops all idle instances, of all plugins.
    pub(in crate::plugin) fn give_up_idle(&self) {
        while self.give_up_oldest() {}
    }

    /// Drops the instance that has been idle for longest, of all plugins. Tells whether there was one.
    pub(in crate::plugin) fn give_up_oldest(&self) -> bool {
        let pools: Vec<_> = {
            let pools = locked(&self.pools);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        let oldest = pools.iter().filter_map(|pool| Some((pool.oldest()?, pool))).min_by_key(|(at, _)| *at);
        let Some((_, pool)) = oldest else { return false };
        // Another thread may have been faster; then there is room, or another instance.
        if pool.take_oldest().is_some() {
            Counter::IdleInstancesGivenUp.count();
        }
        true
    }

    /// Nothing is added that would be taken off again, so that one that asks for much does not make others fail.
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
