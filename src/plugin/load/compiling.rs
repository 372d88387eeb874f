//! The program that compiles components, its bounds, and the words for a component that exceeds them.

use std::path::PathBuf;
use std::time::Duration;

use super::definitions;
use crate::telemetry::metrics::Counter;
use crate::units::size;

/// The running program, even if its file was moved or replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Definitions that a component may have however small `component_size` is, in bytes: twice those of one of
/// Python.
const MIN_DEFINITIONS_BYTES: usize = 1 << 20;

/// The program that compiles a component, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiling {
    /// A program that has the verb `compile`: the running one, except in programs that are not `lictor`.
    pub program: PathBuf,
    /// The largest file, in bytes.
    pub component_bytes: usize,
    /// Most memory that compiling it may take, in bytes of address space.
    pub memory_bytes: usize,
    /// Longest time for compiling it, both by the clock and in processor time.
    pub time: Duration,
}

impl Compiling {
    /// These bounds, with the running program as the compiler.
    #[must_use]
    pub fn by_itself(component_bytes: usize, memory_bytes: usize, time: Duration) -> Self {
        Self { program: OWN_PROGRAM.into(), component_bytes, memory_bytes, time }
    }

    /// Counts a component whose file is too large; returns the words for it.
    pub(in crate::plugin) fn too_large(&self) -> String {
        Counter::ComponentsTooLarge.count();
        format!("its file is larger than component_size = {}", size(self.component_bytes as u64))
    }

    /// Most bytes that a component's definitions may have in its compiled code: decoded, they take no more
    /// than its file may have.
    pub(in crate::plugin) fn definitions_bytes(&self) -> u64 {
        (self.component_bytes / definitions::MEMORY_PER_BYTE).max(MIN_DEFINITIONS_BYTES) as u64
    }

    /// Counts a component with too many definitions; returns the words for it.
    pub(in crate::plugin) fn too_many_definitions(&self) -> String {
        Counter::ComponentsTooLarge.count();
        let least = MIN_DEFINITIONS_BYTES * definitions::MEMORY_PER_BYTE;
        let most = size(self.component_bytes.max(least) as u64);
        format!(
            "its definitions (types, functions, globals, exports, modules) may take more than {most} of memory, which is what \
             component_size allows"
        )
    }

    pub(in crate::plugin) fn memory_used_up(&self) -> String {
        Counter::CompileMemoryUsedUp.count();
        format!("it takes more than compile_memory = {} to compile", size(self.memory_bytes as u64))
    }

    pub(in crate::plugin) fn time_used_up(&self) -> String {
        Counter::CompileTimeUsedUp.count();
        format!("it takes more than compile_time = {:?} to compile", self.time)
    }
}
