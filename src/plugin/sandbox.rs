//! The sandbox of all plugins: their engines, and the queue and the bounds that these share.

use anyhow::Context as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::core_dumps::Dumps;
use super::cpu::offload::OffloadPool;
use super::cpu::ticker::Ticker;
use super::engine::{CoreDumps, Engine, Kept};
use super::host::http::Web;
use super::host::topics::Topics;
use super::memory::budget::Budget;
use super::slots::WaitQueue;
use super::world::World;
use crate::files::Reserved;

/// Bounds on what all plugins together may run.
#[derive(Clone, Copy, Debug)]
pub struct SandboxLimits {
    /// Calls that run at the same time.
    pub concurrent_calls: u32,
    /// Streams that run at the same time, beside those.
    pub concurrent_streams: u32,
    /// Calls that wait for a slot; one more is refused as `busy`.
    pub waiting_calls: usize,
    /// Longest wait for a slot; then the call is refused as `busy`.
    pub max_wait: Duration,
    /// HTTP requests of plugins that are under way at the same time; more wait.
    pub http_requests: usize,
    /// Bytes of all instances' memories and tables together, idle ones among them.
    pub memory_bytes: usize,
}

/// The engines of all plugins, and the bounds that these share.
///
/// Commands and streams have slots of their own, since a stream may go on for days.
pub struct Sandbox {
    /// The epoch clock of all engines.
    ticker: Ticker,
    commands: Arc<Engine>,
    /// Made for the first plugin that streams.
    streams: OnceLock<Result<Arc<Engine>, String>>,
    kept: Kept,
    queue: Arc<WaitQueue>,
    /// The slot of a plugin that is being loaded, apart from the clients': with all of these held, a reload
    /// is the remedy.
    loading: Semaphore,
    /// Memory of that plugin's instance, for the same reason; the plugin's own bound holds as well.
    loading_budget: Arc<Budget>,
    limits: SandboxLimits,
    budget: Arc<Budget>,
    offload_pool: OffloadPool,
    web: Arc<Web>,
    topics: Arc<Topics>,
    reserved: Arc<Reserved>,
    dumps: Option<Arc<Dumps>>,
}

impl Sandbox {
    /// Reserves the address space of all slots for commands. If a folder can't be used, the reason is logged,
    /// and nothing is kept.
    ///
    /// # Errors
    ///
    /// When the machine can't give that much address space, or no thread.
    pub fn new(limits: SandboxLimits, kept: Kept) -> anyhow::Result<Self> {
        let dumps = match &kept.core_dumps {
            CoreDumps::In(folder) => open_dumps(folder),
            CoreDumps::None | CoreDumps::HandedOver => None,
        };
        let ticker = Ticker::start().context("no thread for the sandbox's clock")?;
        let calls = limits.concurrent_calls;
        let queue = Arc::new(WaitQueue::new(limits.waiting_calls, limits.max_wait));
        let commands = Engine::new(World::Plugin, calls, &ticker, &queue, &kept)?;
        Ok(Self {
            ticker,
            commands: Arc::new(commands),
            streams: OnceLock::new(),
            kept,
            queue,
            loading: Semaphore::new(1),
            loading_budget: Arc::new(Budget::for_loading(limits.memory_bytes)),
            limits,
            budget: Arc::new(Budget::new(limits.memory_bytes)),
            offload_pool: OffloadPool::start().context("no threads for plugins that compute")?,
            dumps,
            web: Arc::new(Web::new(limits.http_requests)),
            topics: Arc::default(),
            reserved: Arc::default(),
        })
    }

    /// Removes compiled components, of all engines, that have not been used for long, and the oldest of the
    /// others until at most `most_bytes` are left. Reads a folder, so it is kept off the threads that serve.
    pub fn prune_cache(&self, most_bytes: u64) {
        self.commands.prune_cache(most_bytes);
    }

    /// Gives up all idle warm instances.
    pub fn give_up_idle(&self) {
        self.budget.give_up_idle();
    }

    /// Returns the engine for plugins of `world`.
    ///
    /// # Errors
    ///
    /// The reason for which the machine can't provide one.
    pub(super) fn engine(&self, world: World) -> Result<Arc<Engine>, String> {
        match world {
            World::Plugin => Ok(Arc::clone(&self.commands)),
            World::StreamingPlugin => self.streams.get_or_init(|| self.new_streams()).clone(),
        }
    }

    fn new_streams(&self) -> Result<Arc<Engine>, String> {
        let (world, calls) = (World::StreamingPlugin, self.limits.concurrent_streams);
        let made = Engine::new(world, calls, &self.ticker, &self.queue, &self.kept);
        made.map(Arc::new).map_err(|error| format!("{error:#}"))
    }

    /// The memory of all instances.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The memory of an instance that is [loaded](Self::loading).
    pub(super) fn loading_budget(&self) -> &Arc<Budget> {
        &self.loading_budget
    }

    /// Acquires the slot for loading; waits while another plugin is loaded. Clients can't take it.
    pub(super) async fn loading(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.loading.acquire().await.ok()
    }

    /// The queue of calls that wait for a permit.
    pub(super) fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// The threads for calls that compute.
    pub(super) fn offload_pool(&self) -> &OffloadPool {
        &self.offload_pool
    }

    /// The folder of core dumps, if they are kept.
    pub(super) fn dumps(&self) -> Option<&Arc<Dumps>> {
        self.dumps.as_ref()
    }

    /// The topics by which plugins exchange events.
    pub(super) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// The files and folders that no plugin may read, whatever it is granted; those of the config in force.
    #[must_use]
    pub fn reserved(&self) -> &Arc<Reserved> {
        &self.reserved
    }

    /// Permits and trust roots shared by all plugins' HTTP requests.
    pub(super) fn web(&self) -> &Arc<Web> {
        &self.web
    }

    /// Maximum number of idle warm instances: as many as may run, since the pool has room for both.
    pub(super) fn max_idle_instances(&self) -> usize {
        self.limits.concurrent_calls as usize
    }
}

fn open_dumps(folder: &Path) -> Option<Arc<Dumps>> {
    let opened = Dumps::open(folder).map_err(|error| {
        let path = folder.display();
        tracing::warn!(target: "lictor::plugin", %path, %error, "the folder for core dumps cannot be used");
    });
    opened.ok().map(Arc::new)
}
