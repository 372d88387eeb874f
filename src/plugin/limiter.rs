//! The bound on an instance's memory.

use wasmtime::ResourceLimiter;

/// Bytes that one element of a table takes in the host.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Holds all linear memories and tables of one instance, together, to a number of bytes.
///
/// wasmtime's own `StoreLimits` bounds each memory by itself, which a component with several memories walks past.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    max_bytes: usize,
    used_bytes: usize,
    /// What the last growth added, to be taken back where the engine could not carry it out.
    last_growth_bytes: usize,
    refused: bool,
}

impl MemoryLimiter {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, used_bytes: 0, last_growth_bytes: 0, refused: false }
    }

    /// Whether growth was refused since the last call of [`Self::forget_refusal`]. Guests mostly answer a refusal by a
    /// trap of their own, which says nothing of the cause.
    pub(super) fn has_refused(&self) -> bool {
        self.refused
    }

    /// Begins another call.
    pub(super) fn forget_refusal(&mut self) {
        self.refused = false;
    }

    /// What the instance uses.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The most that the instance may use.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn grow(&mut self, current_bytes: usize, desired_bytes: usize) -> bool {
        let growth = desired_bytes.saturating_sub(current_bytes);
        let used = self.used_bytes.saturating_add(growth);
        if used > self.max_bytes {
            self.refused = true;
            return false;
        }
        self.used_bytes = used;
        self.last_growth_bytes = growth;
        true
    }

    fn take_back(&mut self) {
        self.used_bytes -= std::mem::take(&mut self.last_growth_bytes);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
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
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let mut limiter = MemoryLimiter::new(1000);
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.memory_growing(0, 400, None).unwrap());
        assert!(limiter.table_growing(0, 25, None).unwrap());
        assert!(!limiter.has_refused());
        assert!(!limiter.table_growing(25, 26, None).unwrap());
        assert!(limiter.has_refused());
    }

    #[test]
    fn a_growth_that_failed_is_not_counted() {
        let mut limiter = MemoryLimiter::new(1000);
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(limiter.memory_growing(0, 1000, None).unwrap());
    }
}
