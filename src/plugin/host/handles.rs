//! Memory that the host holds for an instance behind its guest's handles, and the charge for it.
//!
//! To a guest a handle is a number; to the host it is a stream with a buffer, a header, a listing of a
//! folder. Every host function reaches these through [`Handles::open`], which adds up their sizes and charges
//! them to the instance's memory. Once that is used up it returns an empty table that accepts no entries, so
//! that the call fails in whichever function it calls next. Between two checks, one host function adds no
//! more than one handle of the largest cost, or the most that a guest may pass in one piece.
//!
//! Entries that a component holds without any function of the host (its own resources; streams, futures and
//! tasks of the component model) are bounded by number alone. [`reserve_bytes`] is the most that all of them
//! may take; it is charged before an instance is made.

use std::any::Any;

use wasmtime::StoreContextMut;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_io::streams::DynInputStream;

use super::{bucket, http, listings};
use crate::plugin::memory::limiter::MemoryLimiter;
use crate::plugin::world::World;

/// Handles of streams, stores, requests and so on that an instance may hold. The engine's own tables count a
/// handle once more while it is lent to a host function.
pub(in crate::plugin) const MAX_HANDLES: usize = 4096;

/// Entries of the component model's streams, futures, tasks and sets of them: a stream has 3, a task 4.
const MAX_CONCURRENT_ENTRIES: usize = 1024;

/// Bytes of the engine's tables with [`MAX_HANDLES`], of 24 bytes each.
const ENGINE_HANDLES_BYTES: usize = 24 * MAX_HANDLES;

/// Maximum bytes of one entry of the component model, including its queues and its places in sets.
const CONCURRENT_ENTRY_BYTES: usize = 512;

/// Cost of the cheapest handle: its place in the tables, a small value, and its ties to others.
const ENTRY_BYTES: usize = 512;

/// Bytes that a stream has read ahead: a piece of a file or of a body.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Bytes that an idle warm instance may hold. It is charged for them; the bound keeps a plugin that forgets
/// its handles from filling all of its memory with them.
const MAX_IDLE_BYTES: usize = 512 << 10;

/// Maximum bytes that the tables of an instance of `world` may take without a host function seeing them grow.
pub(in crate::plugin) fn reserve_bytes(world: World) -> usize {
    match world {
        World::Plugin => ENGINE_HANDLES_BYTES,
        World::StreamingPlugin => ENGINE_HANDLES_BYTES + MAX_CONCURRENT_ENTRIES * CONCURRENT_ENTRY_BYTES,
    }
}

/// Bounds the tables that [`reserve_bytes`] accounts for.
pub(in crate::plugin) fn bound_tables<T: 'static>(mut store: StoreContextMut<'_, T>) {
    store.set_max_component_handles(MAX_HANDLES);
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(MAX_CONCURRENT_ENTRIES);
    }
}

/// The handles of one instance.
pub(in crate::plugin) struct Handles {
    table: ResourceTable,
    /// Returned once the instance holds too much.
    nothing: ResourceTable,
    /// Bytes held for the instance beside its handles.
    beside_bytes: usize,
    /// Bytes held by the host function that is running.
    passing_bytes: usize,
    held_bytes: usize,
    /// Bytes that host functions may have added since the last count.
    uncounted_bytes: usize,
}

/// The amount that one host function may add to the held bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// A handle or two of the lowest cost.
    Little,
    /// More, so that the next function counts again.
    Much,
}

impl Growth {
    fn bytes(self) -> usize {
        match self {
            Self::Little => 4 << 10,
            Self::Much => usize::MAX / 2,
        }
    }
}

/// Bytes that may be charged without being counted: this many, or an eighth of those counted. Counting at
/// each function would take time quadratic in the number of handles.
const MAX_UNCOUNTED_BYTES: usize = 64 << 10;

/// The instance holds more in the host than it has memory. Its limiter knows which bound was reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host holds more for it than it has memory")]
pub(in crate::plugin) struct HeldTooMuch;

impl Handles {
    pub(in crate::plugin) fn new() -> Self {
        let of = |capacity| {
            let mut table = ResourceTable::new();
            table.set_max_capacity(capacity);
            table
        };
        Self {
            table: of(MAX_HANDLES),
            nothing: of(0),
            beside_bytes: 0,
            passing_bytes: 0,
            held_bytes: 0,
            uncounted_bytes: 0,
        }
    }

    /// Returns the table for one host function that may add `growth`, or an empty one if the instance, whose
    /// limiter is `memory`, holds too much.
    pub(super) fn open(&mut self, growth: Growth, memory: &mut MemoryLimiter) -> &mut ResourceTable {
        let charged = self.charge(memory);
        self.uncounted_bytes = self.uncounted_bytes.saturating_add(growth.bytes());
        match charged {
            Ok(()) => &mut self.table,
            Err(HeldTooMuch) => &mut self.nothing,
        }
    }

    /// Charges `bytes` more that are held beside handles.
    pub(super) fn hold_beside(
        &mut self,
        bytes: usize,
        memory: &mut MemoryLimiter,
    ) -> Result<(), HeldTooMuch> {
        self.beside_bytes += bytes;
        self.count();
        self.charge(memory)
    }

    /// Charges the bytes that a host function holds while it runs, replacing its previous charge.
    pub(super) fn hold_for_now(
        &mut self,
        bytes: usize,
        memory: &mut MemoryLimiter,
    ) -> Result<(), HeldTooMuch> {
        self.held_bytes = self.held_bytes - self.passing_bytes + bytes;
        self.passing_bytes = bytes;
        self.charge(memory)
    }

    /// Charges the bytes that the last host function of a call left behind.
    pub(in crate::plugin) fn charge_rest(&mut self, memory: &mut MemoryLimiter) -> Result<(), HeldTooMuch> {
        if self.uncounted_bytes == 0 {
            return Ok(());
        }
        self.count();
        self.charge(memory)
    }

    /// Returns true if more is held than an idle instance may hold.
    pub(in crate::plugin) fn hold_much(&self) -> bool {
        self.held_bytes > MAX_IDLE_BYTES
    }

    fn charge(&mut self, memory: &mut MemoryLimiter) -> Result<(), HeldTooMuch> {
        let most = self.held_bytes.saturating_add(self.uncounted_bytes);
        if self.uncounted_bytes > MAX_UNCOUNTED_BYTES.max(self.held_bytes / 8) || !memory.has_room_for(most) {
            self.count();
        }
        if memory.hold(self.held_bytes + self.uncounted_bytes) { Ok(()) } else { Err(HeldTooMuch) }
    }

    fn count(&mut self) {
        let handles = self.table.iter_mut().map(|entry| bytes_of(entry)).sum::<usize>();
        self.held_bytes = self.beside_bytes + self.passing_bytes + handles;
        self.uncounted_bytes = 0;
    }
}

/// Maximum bytes that one entry of the table takes in the host.
fn bytes_of(entry: &(dyn Any + Send)) -> usize {
    let more = if entry.is::<DynInputStream>() {
        Some(READ_AHEAD_BYTES)
    } else {
        http::held_bytes(entry).or_else(|| bucket::held_bytes(entry)).or_else(|| listings::held_bytes(entry))
    };
    ENTRY_BYTES + more.unwrap_or_default()
}
