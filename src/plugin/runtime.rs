//! An engine, and the slots in which its instances run. There is one for each [`World`].

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::cache::Cache;
use super::invoke::MAX_DEPTH;
use super::ticker::Ticker;
use super::world::World;

/// Bytes of a linear memory that stay mapped when its slot is used again: they are zeroed by hand, which up to
/// some size is cheaper than giving the pages back and faulting them in again.
const MEMORY_KEPT_RESIDENT_BYTES: usize = 128 << 10;

/// The same for a table.
const TABLE_KEPT_RESIDENT_BYTES: usize = 16 << 10;

/// The same for the stack on which a call runs.
const STACK_KEPT_RESIDENT_BYTES: usize = 16 << 10;

/// The most that a guest's own call stack may take, in bytes.
const MAX_WASM_STACK_BYTES: usize = 512 << 10;

/// The stack of a call, in bytes: the guest's and that of the host's functions above it.
const CALL_STACK_BYTES: usize = 1 << 20;

/// Core instances, tables and memories for which there is room per slot. A component built from one Rust or C
/// program has two to five core instances, as many tables and one memory.
const CORE_INSTANCES_PER_SLOT: u32 = 12;
const TABLES_PER_SLOT: u32 = 8;
const MEMORIES_PER_SLOT: u32 = 2;

/// Stacks of a slot whose plugin streams: it may begin something while another thing of its own waits.
const STACKS_PER_STREAM: u32 = 4;

/// Elements of a table for which there is room in its slot.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// Where the plugins of one world run.
pub(super) struct Runtime {
    engine: Engine,
    slots: Arc<Semaphore>,
    cache: Option<Cache>,
}

impl Runtime {
    /// Reserves the address space of `calls` slots, whose instances run by `ticker`. Compiled components are kept in the folder `compiled`; where it can't
    /// be used, the log says why, and nothing is kept.
    ///
    /// # Errors
    ///
    /// When the machine can't give that much address space.
    pub(super) fn new(
        world: World,
        calls: u32,
        ticker: &Ticker,
        compiled: Option<&Path>,
        with_core_dumps: bool,
    ) -> anyhow::Result<Self> {
        let mut config = match world {
            World::Plugin => commands_config(calls),
            World::StreamingPlugin => streams_config(calls),
        };
        config.coredump_on_trap(with_core_dumps);
        let engine = Engine::new(&config).map_err(|error| anyhow!("no sandbox: {error:#}"))?;
        ticker.add(engine.clone());
        let cache = compiled.and_then(|folder| open_cache(folder, &engine));
        Ok(Self { engine, slots: Arc::new(Semaphore::new(calls as usize)), cache })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The compiled form of a component, whose SHA-256 is `hash`. Takes long.
    pub(super) fn compile(&self, bytes: &[u8], hash: &[u8; 32]) -> wasmtime::Result<Component> {
        match &self.cache {
            Some(cache) => cache.component(&self.engine, bytes, hash),
            None => Component::new(&self.engine, bytes),
        }
    }

    /// Removes the compiled components that were not used for long.
    pub(super) fn prune_cache(&self) {
        let Some(cache) = &self.cache else { return };
        match cache.prune(SystemTime::now()) {
            Ok(0) => {}
            Ok(files) => tracing::info!(target: "lictor::plugin", files, "old compiled code is removed"),
            Err(error) => {
                tracing::warn!(target: "lictor::plugin", %error, "old compiled code is not removed")
            }
        }
    }

    /// The slots, to be waited for.
    pub(super) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }

    /// A slot to run in, where one is free.
    pub(super) fn slot_if_free(&self) -> Option<OwnedSemaphorePermit> {
        self.slots().try_acquire_owned().ok()
    }
}

fn open_cache(folder: &Path, engine: &Engine) -> Option<Cache> {
    let opened = Cache::open(folder, engine);
    opened
        .map_err(|error| {
            let path = folder.display();
            tracing::warn!(target: "lictor::plugin", %path, %error, "the folder for compiled code cannot be used");
        })
        .ok()
}

/// `concurrency_support` is off because it doubles the cost of a call, and nothing in `world plugin` needs it.
fn commands_config(calls: u32) -> Config {
    // Running and idle instances, and those of commands that commands run.
    let slots = calls * 3 + u32::from(MAX_DEPTH);
    let mut config = config(slots, slots);
    config.concurrency_support(false).wasm_component_model_async(false);
    config
}

fn streams_config(calls: u32) -> Config {
    let mut config = config(calls, calls * STACKS_PER_STREAM);
    config.concurrency_support(true).wasm_component_model_async(true);
    config
}

/// What both have. Memory protection keys and pagemap scanning stay off: wasmtime 48.0.8 can leave a swapped-out dirty page
/// with the last instance's data under the latter (wasmtime issue 14357).
fn config(slots: u32, stacks: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots * MEMORIES_PER_SLOT)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(stacks)
        .max_memories_per_component(MEMORIES_PER_SLOT * 4)
        .max_tables_per_component(TABLES_PER_SLOT * 4)
        .max_core_instances_per_component(CORE_INSTANCES_PER_SLOT * 4)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(MEMORY_KEPT_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEPT_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_RESIDENT_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES);
    config
}
