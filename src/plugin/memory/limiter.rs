//! The bounds on an instance's memory: its own, and its part of the budget for all instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::ResourceLimiter;

use super::budget::{Budget, BudgetSpent};
use super::refusal::MemoryRefusal;
use crate::telemetry::metrics::{Counter, LiveInstance};

/// Bytes that one element of a table takes in the host.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Limits all linear memories and tables of one instance, together with the memory that the host holds for it
/// behind handles, to a number of bytes, and charges them to the budget of all instances until it is dropped.
///
/// wasmtime's own `StoreLimits` bounds each memory separately, which a component with several memories
/// evades.
#[derive(Debug)]
pub(in crate::plugin) struct MemoryLimiter {
    max_bytes: usize,
    used_bytes: usize,
    /// Bytes that the host holds for it.
    held_bytes: usize,
    /// Bytes charged for it from the start, which are not part of its memory.
    reserve_bytes: usize,
    /// Bytes added by the last growth, taken back if the engine could not carry it out.
    last_growth_bytes: usize,
    /// Maximum elements of a table.
    max_table_elements: usize,
    refused: Option<MemoryRefusal>,
    /// True once the refusal was reported.
    is_told: AtomicBool,
    charge: Charge,
    /// Counts the instance.
    instance: LiveInstance,
}

impl MemoryLimiter {
    /// Makes the limiter of an instance of at most `max_bytes`.
    ///
    /// Of these, `footprint_bytes` are charged at once: the needs of a fresh instance, so that making one
    /// asks the budget only once, before any part of it is made. `reserve_bytes` are charged beside its
    /// memory.
    pub(in crate::plugin) fn new(
        max_bytes: usize,
        max_table_elements: usize,
        budget: Arc<Budget>,
        footprint_bytes: usize,
        reserve_bytes: usize,
        instance: LiveInstance,
    ) -> Result<Self, BudgetSpent> {
        let mut charge = Charge { budget, bytes: 0 };
        charge.raise_to(footprint_bytes + reserve_bytes)?;
        Ok(Self {
            max_bytes,
            used_bytes: 0,
            held_bytes: 0,
            reserve_bytes,
            last_growth_bytes: 0,
            max_table_elements,
            refused: None,
            is_told: AtomicBool::new(false),
            charge,
            instance,
        })
    }

    /// Returns true if the host may hold `bytes` for the instance, considering its own memory alone.
    pub(in crate::plugin) fn has_room_for(&self, bytes: usize) -> bool {
        self.used_bytes.saturating_add(bytes) <= self.max_bytes
    }

    /// Charges `bytes` that the host holds for the instance, replacing the previous amount; returns false if
    /// there is too little memory. As with a linear memory, a charge is never lowered: neither the tables of
    /// handles nor the allocator give all of it back.
    pub(in crate::plugin) fn hold(&mut self, bytes: usize) -> bool {
        let used = self.used_bytes.saturating_add(bytes);
        self.held_bytes = bytes;
        if used > self.max_bytes {
            return self.refuse(MemoryRefusal::Held(self.max_bytes));
        }
        if self.charge.raise_to(used + self.reserve_bytes).is_err() {
            return self.refuse(MemoryRefusal::Server);
        }
        self.instance.takes(used);
        true
    }

    /// The reason for the last refused growth since [`Self::forget_refusal`], if any. Guests mostly answer a
    /// refusal by a trap of their own, which does not tell the cause.
    pub(in crate::plugin) fn refusal(&self) -> Option<MemoryRefusal> {
        self.refused
    }

    /// Like [`Self::refusal`], but returned only once, for reporting.
    pub(in crate::plugin) fn untold_refusal(&self) -> Option<MemoryRefusal> {
        self.refused.filter(|_| !self.is_told.swap(true, Ordering::Relaxed))
    }

    /// Begins another call.
    pub(in crate::plugin) fn forget_refusal(&mut self) {
        self.refused = None;
        self.is_told = AtomicBool::new(false);
    }

    /// Bytes that the instance uses.
    pub(in crate::plugin) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes that the instance uses, and those that the host holds for it.
    pub(in crate::plugin) fn total_bytes(&self) -> usize {
        self.used_bytes + self.held_bytes
    }

    fn grow(&mut self, current_bytes: usize, desired_bytes: usize) -> bool {
        let growth = desired_bytes.saturating_sub(current_bytes);
        let used = self.used_bytes.saturating_add(growth);
        if used.saturating_add(self.held_bytes) > self.max_bytes {
            return self.refuse(MemoryRefusal::Own(self.max_bytes));
        }
        if self.charge.raise_to(used + self.held_bytes + self.reserve_bytes).is_err() {
            return self.refuse(MemoryRefusal::Server);
        }
        self.used_bytes = used;
        self.last_growth_bytes = growth;
        self.instance.takes(used + self.held_bytes);
        true
    }

    fn refuse(&mut self, refusal: MemoryRefusal) -> bool {
        // The budget counts its own refusals.
        if refusal != MemoryRefusal::Server {
            Counter::InstanceMemoryUsedUp.count();
        }
        self.refused = Some(refusal);
        false
    }

    /// The charge remains, for the next growth.
    fn take_back(&mut self) {
        self.used_bytes -= std::mem::take(&mut self.last_growth_bytes);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Without a declared maximum, `maximum` is the engine's, which is no lower than the instance's bound.
        if let Some(most) = maximum.filter(|most| desired > *most && *most < self.max_bytes) {
            return Ok(self.refuse(MemoryRefusal::Declared(most)));
        }
        Ok(self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Here the engine's maximum is the bound on all tables.
        if let Some(most) = maximum.filter(|most| desired > *most && *most < self.max_table_elements) {
            return Ok(self.refuse(MemoryRefusal::DeclaredTable(most)));
        }
        if desired > self.max_table_elements {
            return Ok(self.refuse(MemoryRefusal::Table(self.max_table_elements)));
        }
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }
}

/// One instance's part of the budget; returned when it is dropped, at whatever stage the instance was.
struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    fn raise_to(&mut self, bytes: usize) -> Result<(), BudgetSpent> {
        if bytes > self.bytes {
            self.budget.charge(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Charge").field(&self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> LiveInstance {
        LiveInstance::new(&Arc::default())
    }

    fn limiter(max_bytes: usize, budget: &Arc<Budget>) -> MemoryLimiter {
        MemoryLimiter::new(max_bytes, 50, Arc::clone(budget), 0, 0, instance()).unwrap()
    }

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut limiter = limiter(1000, &Arc::new(Budget::new(10_000)));
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.table_growing(0, 25, None).unwrap());
        assert_eq!(limiter.refusal(), None);
        assert!(!limiter.table_growing(25, 26, None).unwrap());
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Own(1000)));
        assert_eq!(limiter.untold_refusal(), Some(MemoryRefusal::Own(1000)));
        assert_eq!((limiter.untold_refusal(), limiter.refusal().is_some()), (None, true));
        limiter.forget_refusal();
        assert_eq!(limiter.refusal(), None);
    }

    #[test]
    fn a_table_has_a_bound_of_its_own() {
        let mut limiter = limiter(10_000, &Arc::new(Budget::new(10_000)));
        assert!(limiter.table_growing(0, 50, None).unwrap());
        assert!(!limiter.table_growing(50, 51, None).unwrap());
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Table(50)));
    }

    /// The engine passes a maximum of its own if the module declares none or a higher one.
    #[test]
    fn a_maximum_is_the_modules_only_below_the_bounds() {
        let mut limiter = limiter(1000, &Arc::new(Budget::new(10_000)));
        for (is_table, desired, maximum, refusal) in [
            (false, 300, 200, MemoryRefusal::Declared(200)),
            (false, 1001, 1000, MemoryRefusal::Own(1000)),
            (false, 5000, 4000, MemoryRefusal::Own(1000)),
            (true, 30, 20, MemoryRefusal::DeclaredTable(20)),
            (true, 51, 50, MemoryRefusal::Table(50)),
            (true, 5000, 4000, MemoryRefusal::Table(50)),
        ] {
            let grown = match is_table {
                true => limiter.table_growing(0, desired, Some(maximum)),
                false => limiter.memory_growing(0, desired, Some(maximum)),
            };
            assert!(!grown.unwrap());
            assert_eq!(limiter.refusal(), Some(refusal));
        }
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut limiter = limiter(1000, &Arc::new(Budget::new(1000)));
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
    }

    #[test]
    fn instances_share_the_budget_and_give_it_back() {
        let budget = Arc::new(Budget::new(1000));
        let mut one = limiter(1000, &budget);
        let mut other = limiter(1000, &budget);
        assert!(one.memory_growing(0, 600, None).unwrap());
        assert!(!other.memory_growing(0, 600, None).unwrap());
        assert_eq!(other.refusal(), Some(MemoryRefusal::Server));
        drop(one);
        assert!(other.memory_growing(0, 600, None).unwrap());
    }

    #[test]
    fn the_footprint_is_charged_before_anything_grows_and_only_once() {
        let budget = Arc::new(Budget::new(1000));
        let mut limiter = MemoryLimiter::new(900, 0, Arc::clone(&budget), 600, 100, instance()).unwrap();
        assert!(MemoryLimiter::new(900, 0, Arc::clone(&budget), 300, 100, instance()).is_err());
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        assert!(budget.charge(300).is_ok(), "what was charged is used first");
        assert!(!limiter.memory_growing(600, 601, None).unwrap());
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Server), "the reserve is not for memory");
    }

    #[test]
    fn what_the_host_holds_is_a_part_of_the_memory_and_stays_charged() {
        let budget = Arc::new(Budget::new(1500));
        let mut limiter = MemoryLimiter::new(1000, 0, Arc::clone(&budget), 0, 100, instance()).unwrap();
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.hold(600));
        assert!(!limiter.memory_growing(400, 401, None).unwrap());
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Own(1000)));
        assert!(!limiter.hold(601));
        assert_eq!(limiter.refusal(), Some(MemoryRefusal::Held(1000)));
        limiter.forget_refusal();
        assert!(limiter.hold(0) && limiter.has_room_for(600) && !limiter.has_room_for(601));
        assert!(budget.charge(401).is_err() && budget.charge(400).is_ok());
        assert!(limiter.hold(600), "it is charged still");
        assert_eq!(limiter.refusal(), None);
        drop(limiter);
        assert!(budget.charge(1100).is_ok());
    }
}
