//! What the host holds for an instance behind the handles of its guest, and what that costs.
//!
//! To a guest a handle is a number; to the host it is a stream with a buffer, a header, a listing of a folder. Every host
//! function gets at these through [`Handles::open`], which adds up what there is and charges it to the instance's memory.
//! Where that is used up it gives an empty table instead: nothing is found in it and nothing can be put there, so that the
//! call breaks off, by whatever function it goes on. One host function adds no more than one handle of the largest cost, or
//! what a guest may hand over in one piece, before the next look.
//!
//! What a component holds without any function of the host (its own resources; streams, futures and tasks of the component
//! model) is bounded by number alone. [`reserve_bytes`] is what all of that may come to; it is charged before an instance is
//! made.

use std::any::Any;

use wasmtime::StoreContextMut;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_io::streams::DynInputStream;

use super::{http, keyvalue, listings};
use crate::plugin::bounds::MemoryLimiter;
use crate::plugin::instance::HostState;
use crate::plugin::world::World;

/// Handles of streams, stores, requests and so on that an instance may hold. In the engine's own tables one is counted once
/// more while it is lent to a host function.
pub(in crate::plugin) const MAX_HANDLES: usize = 4096;

/// Entries of the component model's streams, futures, tasks and sets of them: three for a stream, four for a task.
const MAX_CONCURRENT_ENTRIES: usize = 1024;

/// The engine's tables with [`MAX_HANDLES`], of 24 bytes each.
const ENGINE_HANDLES_BYTES: usize = 24 * MAX_HANDLES;

/// An entry of the component model at the most, its queues and its places in sets among it.
const CONCURRENT_ENTRY_BYTES: usize = 512;

/// What the cheapest handle costs: its place in the tables, a small value, and its ties to others.
const ENTRY_BYTES: usize = 512;

/// What a stream has read ahead: a piece of a file or of a body.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// What an idle warm instance may hold. It is charged for that; this keeps a plugin that forgets its handles from having
/// all of its memory taken up by them.
const MAX_IDLE_BYTES: usize = 512 << 10;

/// What the tables of an instance of `world` may come to, which no function of the host sees grow.
pub(in crate::plugin) fn reserve_bytes(world: World) -> usize {
    match world {
        World::Plugin => ENGINE_HANDLES_BYTES,
        World::StreamingPlugin => ENGINE_HANDLES_BYTES + MAX_CONCURRENT_ENTRIES * CONCURRENT_ENTRY_BYTES,
    }
}

/// Bounds the tables of which [`reserve_bytes`] tells.
pub(in crate::plugin) fn bound_tables(mut store: StoreContextMut<'_, HostState>) {
    store.set_max_component_handles(MAX_HANDLES);
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(MAX_CONCURRENT_ENTRIES);
    }
}

/// The handles of one instance.
pub(in crate::plugin) struct Handles {
    table: ResourceTable,
    /// Given out once the instance holds too much.
    nothing: ResourceTable,
    /// What the instance holds beside its handles.
    beside_bytes: usize,
    /// What the host function that runs holds for it.
    passing_bytes: usize,
    held_bytes: usize,
    /// What host functions may have added since that was counted.
    uncounted_bytes: usize,
}

/// How much one host function may add to what is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// A handle or two of the lowest cost.
    Little,
    /// More, so that the next function counts anew.
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

/// What may be charged and not be counted: this, or an eighth of what was. To count at each function would take time by the
/// square of the number of handles.
const MAX_UNCOUNTED_BYTES: usize = 64 << 10;

/// The instance holds more in the host than it has memory. Its limiter knows which bound that met.
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

    /// The table, for one host function that may add `growth`; an empty one where the instance, whose limiter is `memory`,
    /// holds too much.
    pub(super) fn open(&mut self, growth: Growth, memory: &mut MemoryLimiter) -> &mut ResourceTable {
        let charged = self.charge(memory);
        self.uncounted_bytes = self.uncounted_bytes.saturating_add(growth.bytes());
        match charged {
            Ok(()) => &mut self.table,
            Err(HeldTooMuch) => &mut self.nothing,
        }
    }

    /// Counts what is held beside handles.
    pub(super) fn hold_beside(
        &mut self,
        bytes: usize,
        memory: &mut MemoryLimiter,
    ) -> Result<(), HeldTooMuch> {
        self.beside_bytes += bytes;
        self.count();
        self.charge(memory)
    }

    /// Counts what a host function holds while it runs, in the place of what it held before.
    pub(super) fn hold_for_now(
        &mut self,
        bytes: usize,
        memory: &mut MemoryLimiter,
    ) -> Result<(), HeldTooMuch> {
        self.held_bytes = self.held_bytes - self.passing_bytes + bytes;
        self.passing_bytes = bytes;
        self.charge(memory)
    }

    /// Counts what the last host function of a call left there.
    pub(in crate::plugin) fn settle(&mut self, memory: &mut MemoryLimiter) -> Result<(), HeldTooMuch> {
        if self.uncounted_bytes == 0 {
            return Ok(());
        }
        self.count();
        self.charge(memory)
    }

    /// Whether more is held than an idle instance may.
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

/// What one entry of the table takes in the host, at the most.
fn bytes_of(entry: &(dyn Any + Send)) -> usize {
    let more = if entry.is::<DynInputStream>() {
        Some(READ_AHEAD_BYTES)
    } else {
        http::held_bytes(entry)
            .or_else(|| keyvalue::held_bytes(entry))
            .or_else(|| listings::held_bytes(entry))
    };
    ENTRY_BYTES + more.unwrap_or_default()
}
