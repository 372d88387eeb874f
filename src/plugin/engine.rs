//! An engine, and the slots in which its instances run. There is one for each [`World`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;
use wasmtime::component::Component;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use super::call::MAX_DEPTH;
use super::cpu::ticker::Ticker;
use super::debug::backtrace;
use super::debug::places::Places;
use super::load::cache::{Cache, Draft, Unloadable};
use super::load::compiling::Compiling;
use super::load::hopeless::Hopeless;
use super::slots::{Slots, WaitQueue};
use super::world::World;
use crate::telemetry::metrics::Counter;

/// Bytes of a linear memory that stay mapped when its slot is used again: they are zeroed by hand, which up
/// to some size is cheaper than giving the pages back and faulting them in again.
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

/// Maximum number of these in one component; they may all be in one core module.
const CORE_INSTANCES_PER_COMPONENT: u32 = CORE_INSTANCES_PER_SLOT * 4;
const TABLES_PER_COMPONENT: u32 = TABLES_PER_SLOT * 4;
const MEMORIES_PER_COMPONENT: u32 = MEMORIES_PER_SLOT * 4;

/// Stacks of a slot whose plugin streams: it may begin something while another thing of its own waits.
const STACKS_PER_STREAM: u32 = 4;

/// Instances of commands that commands run, for each slot. Slots are for commands that clients run; a bound
/// on the others keeps room in the pool for a plugin that is being loaded, whatever clients do.
const NESTED_PER_SLOT: u32 = 2;

/// Instances of plugins that are being loaded, in none of the slots: they are loaded one after the other.
const LOADING: u32 = 1;

/// Elements of a table for which there is room in its slot.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// Files that a sandbox keeps on disk.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The folder of compiled components; without it each start compiles them.
    pub compiled: Option<PathBuf>,
    /// Destination of core dumps.
    pub core_dumps: CoreDumps,
}

/// Destination of the core dump of a plugin that traps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CoreDumps {
    /// None is made.
    #[default]
    None,
    /// They are kept in this folder.
    In(PathBuf),
    /// [`try_out`](super::try_out) hands it over.
    HandedOver,
}

/// The wasmtime engine of one world's plugins, with their slots and compiled code.
pub(super) struct Engine {
    engine: wasmtime::Engine,
    slots: Slots,
    cache: Option<Cache>,
    hopeless: Hopeless,
}

impl Engine {
    /// Reserves the address space of `calls` slots, whose instances run by `ticker`. Compiled components are
    /// kept in the folder of `kept`; if that can't be used, the reason is logged, and nothing is kept.
    ///
    /// # Errors
    ///
    /// When the machine can't give that much address space.
    pub(super) fn new(
        world: World,
        calls: u32,
        ticker: &Ticker,
        queue: &Arc<WaitQueue>,
        kept: &Kept,
    ) -> anyhow::Result<Self> {
        let mut config = config(world);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(match world {
            // Idle instances are given up where there is no room.
            World::Plugin => {
                let slots = calls + most_nested(calls) + LOADING;
                pool(slots, slots)
            }
            World::StreamingPlugin => pool(calls + LOADING, (calls + LOADING) * STACKS_PER_STREAM),
        }));
        config.coredump_on_trap(kept.core_dumps != CoreDumps::None);
        let engine = wasmtime::Engine::new(&config).map_err(|error| no_sandbox(world, calls, &error))?;
        ticker.add(engine.clone());
        let cache = kept.compiled.as_deref().and_then(|folder| open_cache(folder, &engine));
        let delayed = match world {
            World::Plugin => Counter::CommandsDelayed,
            World::StreamingPlugin => Counter::StreamsDelayed,
        };
        let slots = Slots::new(calls, most_nested(calls), Arc::clone(queue), delayed);
        Ok(Self { engine, slots, cache, hopeless: Hopeless::default() })
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// The component whose SHA-256 is `hash`, where it was compiled before.
    pub(super) fn compiled_before(
        &self,
        hash: &[u8; 32],
        compiling: &Compiling,
    ) -> Option<Result<Component, Unloadable>> {
        self.cache.as_ref()?.find(&self.engine, hash, compiling)
    }

    /// The places that were found before by a component and its debug file, which `hash` stands for.
    pub(super) fn places_before(&self, hash: &[u8; 32]) -> Option<Places> {
        self.cache.as_ref()?.find_places(hash)
    }

    /// Debug files that are not read again.
    pub(super) fn hopeless(&self) -> &Hopeless {
        &self.hopeless
    }

    /// Creates a file for the output of compiling the component with this `hash`: in the cache, or in memory
    /// if the cache can't be used.
    pub(super) fn draft(&self, hash: &[u8; 32], form: &'static str) -> io::Result<Draft> {
        match &self.cache {
            Some(cache) => cache.draft(hash, form).or_else(|error| {
                tracing::warn!(target: "lictor::plugin", %error, "compiled code is not kept");
                Draft::in_memory()
            }),
            None => Draft::in_memory(),
        }
    }

    /// Removes the compiled components that were not used for long.
    pub(super) fn prune_cache(&self, most_bytes: u64) {
        let Some(cache) = &self.cache else { return };
        match cache.prune(SystemTime::now(), most_bytes) {
            Ok(0) => {}
            Ok(files) => tracing::info!(target: "lictor::plugin", files, "old compiled code is removed"),
            Err(error) => {
                tracing::warn!(target: "lictor::plugin", %error, "old compiled code is not removed")
            }
        }
    }

    /// The slots in which its instances run.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }
}

/// Returns the error for slots that can't be reserved, with a remedy.
fn no_sandbox(world: World, calls: u32, error: &wasmtime::Error) -> anyhow::Error {
    if !backtrace::is_of_memory(error) {
        return anyhow!("no sandbox: {error:#}");
    }
    let key = match world {
        World::Plugin => "concurrent_commands",
        World::StreamingPlugin => "concurrent_streams",
    };
    anyhow!(
        "no address space for limits.{key} = {calls} ({error:#}): lower concurrent_commands or concurrent_streams, or raise \
         the bound on the process's address space (`ulimit -v`, `LimitAS=` of a unit)"
    )
}

fn open_cache(folder: &Path, engine: &wasmtime::Engine) -> Option<Cache> {
    let opened = Cache::open(folder, engine);
    opened
        .map_err(|error| {
            let path = folder.display();
            tracing::warn!(target: "lictor::plugin", %path, %error, "the folder for compiled code cannot be used");
        })
        .ok()
}

/// Concurrent commands that are run by commands, for `calls` slots: for one slot, as many as run each other.
fn most_nested(calls: u32) -> u32 {
    calls.saturating_sub(1) * NESTED_PER_SLOT + u32::from(MAX_DEPTH)
}

/// An engine that compiles for the plugins of `world` and runs none: a pool would take address space that the
/// process does not have. A test keeps its code the same.
pub(super) fn compiling_engine(world: World) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(world))
}

/// Settings that the compiled code of a world's plugins depends on.
///
/// Memory protection keys and pagemap scanning stay off: wasmtime 48.0.8 can leave a swapped-out dirty page
/// with the last instance's data under the latter (wasmtime issue 14357). Debug information is not kept, as
/// it would be searched at each trap, and a component's author may have made it for that.
fn config(world: World) -> Config {
    let mut config = Config::new();
    // Off where nothing needs it, because it doubles the cost of a call.
    let has_async = world == World::StreamingPlugin;
    config
        .concurrency_support(has_async)
        .wasm_component_model_async(has_async)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES);
    config
}

fn pool(slots: u32, stacks: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots * MEMORIES_PER_SLOT)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(stacks)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(MEMORY_KEPT_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEPT_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_RESIDENT_BYTES);
    pool
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    use std::time::Duration;

    use super::*;

    fn queue() -> Arc<WaitQueue> {
        Arc::new(WaitQueue::new(1, Duration::from_secs(1)))
    }

    fn code_of(engine: &wasmtime::Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn where_there_is_no_address_space_the_keys_are_told() {
        let ticker = Ticker::start().unwrap();
        for (world, key) in
            [(World::Plugin, "concurrent_commands"), (World::StreamingPlugin, "concurrent_streams")]
        {
            let refused =
                Engine::new(world, 100_000, &ticker, &queue(), &Kept::default()).err().unwrap().to_string();
            assert!(
                refused.starts_with(&format!("no address space for limits.{key} = 100000 (")),
                "{refused}"
            );
            assert!(refused.contains("lower concurrent_commands or concurrent_streams"), "{refused}");
        }
    }

    #[test]
    fn what_is_compiled_is_what_is_run() {
        let worlds = [World::Plugin, World::StreamingPlugin];
        let ticker = Ticker::start().unwrap();
        for world in worlds {
            for core_dumps in [CoreDumps::None, CoreDumps::HandedOver] {
                let kept = Kept { compiled: None, core_dumps };
                let runs = Engine::new(world, 1, &ticker, &queue(), &kept).unwrap();
                assert_eq!(code_of(&compiling_engine(world).unwrap()), code_of(runs.wasmtime()), "{world:?}");
            }
        }
        let [commands, streams] = worlds.map(|world| code_of(&compiling_engine(world).unwrap()));
        assert_ne!(commands, streams);
    }
}
