//! The engine that all plugins share, and the places in which their instances run.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bounds::Budget;
use super::bounds::Pace;
use super::bounds::Queue;
use super::cache::Cache;
use super::dumps::Dumps;
use super::host::Web;
use super::invoke::MAX_DEPTH;
use super::ticker::Ticker;
use crate::wire::{Code, CommandError};

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

/// Elements of a table for which there is room in its slot.
pub(super) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// Bounds on what all plugins together may run.
#[derive(Clone, Copy, Debug)]
pub struct SandboxLimits {
    /// Calls that run at the same time.
    pub concurrent_calls: u32,
    /// Calls that wait for a slot; one more is refused as `busy`.
    pub waiting_calls: usize,
    /// How long a call waits for a slot before it is refused as `busy`.
    pub max_wait: Duration,
    /// HTTP requests of plugins that are under way at the same time; more wait.
    pub http_requests: usize,
    /// Bytes of all instances' memories and tables together, idle ones among them.
    pub memory_bytes: usize,
}

/// What a sandbox keeps on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept<'a> {
    /// The folder of compiled components; without it each start compiles them.
    pub compiled: Option<&'a Path>,
    /// What becomes of core dumps.
    pub core_dumps: CoreDumps<'a>,
}

/// What becomes of the core dump of a plugin that traps.
#[derive(Clone, Copy, Debug, Default)]
pub enum CoreDumps<'a> {
    /// None is made.
    #[default]
    None,
    /// They are kept in this folder.
    In(&'a Path),
    /// [`try_out`](super::try_out) hands it over.
    HandedOver,
}

/// Where plugins run: one engine, its instance slots, and the queue in front of them.
pub struct Sandbox {
    engine: Engine,
    slots: Arc<Semaphore>,
    queue: Queue,
    limits: SandboxLimits,
    ticker: Ticker,
    budget: Arc<Budget>,
    pace: Pace,
    cache: Option<Cache>,
    web: Arc<Web>,
    dumps: Option<Arc<Dumps>>,
}

impl Sandbox {
    /// Reserves the address space of all slots. Where a folder can't be used, the log says why, and nothing is kept.
    ///
    /// # Errors
    ///
    /// When the machine can't give that much address space, or no thread.
    pub fn new(limits: SandboxLimits, kept: Kept<'_>) -> anyhow::Result<Self> {
        let mut config = engine_config(limits);
        config.coredump_on_trap(!matches!(kept.core_dumps, CoreDumps::None));
        let engine = Engine::new(&config).map_err(|error| anyhow!("no sandbox: {error:#}"))?;
        let total = limits.concurrent_calls as usize;
        let slots = Arc::new(Semaphore::new(total));
        let of_ticker = Arc::clone(&slots);
        let ticker = Ticker::start(engine.clone(), move || of_ticker.available_permits() == total)?;
        let cache = kept.compiled.and_then(|folder| open_cache(folder, &engine));
        let dumps = match kept.core_dumps {
            CoreDumps::In(folder) => open_dumps(folder),
            CoreDumps::None | CoreDumps::HandedOver => None,
        };
        let budget = Arc::new(Budget::new(limits.memory_bytes));
        Ok(Self {
            engine,
            slots,
            queue: Queue::new(limits.waiting_calls),
            limits,
            ticker,
            budget,
            pace: Pace::new(),
            cache,
            dumps,
            web: Arc::new(Web::new(limits.http_requests)),
        })
    }

    /// Removes the compiled components that were not used for long. Reads a folder, so it is kept off the threads that
    /// serve.
    pub fn prune_cache(&self) {
        let Some(cache) = &self.cache else { return };
        match cache.prune(SystemTime::now()) {
            Ok(0) => {}
            Ok(files) => tracing::info!(target: "lictor::plugin", files, "old compiled code is removed"),
            Err(error) => {
                tracing::warn!(target: "lictor::plugin", %error, "old compiled code is not removed")
            }
        }
    }

    /// The memory of all instances.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The turns of the calls that compute.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Where core dumps are kept.
    pub(super) fn dumps(&self) -> Option<&Arc<Dumps>> {
        self.dumps.as_ref()
    }

    /// What all plugins' HTTP requests share.
    pub(super) fn web(&self) -> &Arc<Web> {
        &self.web
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

    /// Warm instances that may stand idle at the same time: as many as may run, for the pool has room for both.
    pub(super) fn max_idle_instances(&self) -> usize {
        self.limits.concurrent_calls as usize
    }

    /// A slot to run in; waits for one, first come first served, where none is free.
    pub(super) async fn slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, CommandError> {
        if let Some(slot) = self.slot_if_free() {
            return Ok(slot);
        }
        let slot = self.wait_for(Arc::clone(&self.slots).acquire_owned(), deadline).await?;
        self.ticker.wake();
        Ok(slot)
    }

    /// A slot to run in, where one is free.
    pub(super) fn slot_if_free(&self) -> Option<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.ticker.wake();
        Some(slot)
    }

    /// Waits for a permit, which `acquiring` will give, within the bounds of the queue.
    pub(super) async fn wait_for<P>(
        &self,
        acquiring: impl Future<Output = Result<P, AcquireError>>,
        deadline: Instant,
    ) -> Result<P, CommandError> {
        let _place = self.queue.place()?;
        let give_up = Instant::now() + self.limits.max_wait;
        match timeout_at(deadline.min(give_up), acquiring).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(CommandError::not_run(Code::ShuttingDown, "The server is stopping")),
            Err(_elapsed) if deadline <= give_up => {
                Err(CommandError::not_run(Code::Timeout, "The deadline passed before a slot was free"))
            }
            Err(_elapsed) => {
                Err(CommandError::not_run(Code::Busy, "No slot became free in time; try again later"))
            }
        }
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

fn open_dumps(folder: &Path) -> Option<Arc<Dumps>> {
    let opened = Dumps::open(folder).map_err(|error| {
        let path = folder.display();
        tracing::warn!(target: "lictor::plugin", %path, %error, "the folder for core dumps cannot be used");
    });
    opened.ok().map(Arc::new)
}

/// `concurrency_support` is off because it doubles the cost of a call, and nothing in `world plugin` needs it.
/// Memory protection keys and pagemap scanning stay off: wasmtime 48.0.8 can leave a swapped-out dirty page with
/// the last instance's data under the latter (wasmtime issue 14357).
fn engine_config(limits: SandboxLimits) -> Config {
    // Running and idle instances, and those of commands that commands run.
    let slots = limits.concurrent_calls * 3 + u32::from(MAX_DEPTH);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES_PER_SLOT)
        .total_memories(slots * MEMORIES_PER_SLOT)
        .total_tables(slots * TABLES_PER_SLOT)
        .total_stacks(slots)
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
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES);
    config
}
