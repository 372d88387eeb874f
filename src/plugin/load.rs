//! From a file to a plugin that can be called: compiled, checked against its world, linked, and tried once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::PoolConcurrencyLimitError;

use super::bounds::{Budget, BudgetSpent, MemoryLimiter, MemoryRefusal, Pace};
use super::compile::{Compiled, compile};
use super::compute::Offloaded;
use super::debug::{Debug, DebugFault};
use super::describe::CommandInfo;
use super::fit;
use super::host::{self, Granted, Grants, Handles, PluginLog, Volume, VolumeLimits, reserve_bytes};
use super::instance::{Entry, HostState, Instance, Linked, Purpose};
use super::pool::{Instances, Pool, Retirement};
use super::runtime::{MAX_TABLE_ELEMENTS, Runtime};
use super::sandbox::Sandbox;
use super::slots::{ClientLimit, ClientSlot, PluginLimit, Slots};
use super::world::{self, World};
use crate::text::{Foreign, shown};
use crate::wire::CommandError;

/// The limit of what has none, short enough to be added to a time.
const UNLIMITED: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What the operator says of a plugin.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The key of its section there, for messages.
    pub key: String,
    /// The component's file.
    pub component: PathBuf,
    /// Who may have written that file.
    pub authors: crate::files::Authors,
    /// SHA-256 that the file must have.
    pub sha256: Option<[u8; 32]>,
    /// Whose calls share an instance.
    pub instances: Instances,
    /// How long loading it may take to describe itself, and a stream from one part to the next.
    pub timeout: Duration,
    /// How long a call may compute; none for as long as it may take.
    pub cpu_time: Option<Duration>,
    /// What a call may ask of the host.
    pub volume: VolumeLimits,
    /// The most that an instance may use, in bytes of all memories and tables.
    pub memory_bytes: usize,
    /// The longest reply, in bytes.
    pub reply_bytes: usize,
    /// Calls of this plugin that run at the same time; none for as many as the sandbox runs.
    pub concurrency: Option<u32>,
    /// Calls after which a warm instance is given up.
    pub max_calls: u32,
    /// Time without a call after which a warm instance is given up.
    pub idle: Duration,
    /// What it may use beyond what every plugin may.
    pub grants: Grants,
    /// By which program its component is compiled, and what that may take.
    pub compiling: super::compiling::Compiling,
}

impl Spec {
    fn error(&self, reason: String) -> LoadError {
        LoadError { name: Arc::clone(&self.name), path: self.component.clone(), reason: reason.into() }
    }
}

/// Characters of a component's path that are shown.
const MAX_PATH_CHARS: usize = 1024;

/// Why a plugin can't be served.
#[derive(Debug, thiserror::Error)]
#[error("plugin {name}: {}: {reason}", shown(&.path.to_string_lossy(), MAX_PATH_CHARS))]
pub struct LoadError {
    name: Arc<str>,
    path: PathBuf,
    /// It may quote the component: names of functions in a backtrace, of imports, of what is invalid.
    reason: Foreign,
}

/// A plugin that can be called.
pub struct Plugin {
    pub(super) spec: Spec,
    sha256: [u8; 32],
    pub(super) debug: Arc<Debug>,
    sandbox: Arc<Sandbox>,
    runtime: Arc<Runtime>,
    world: World,
    linked: Arc<Linked>,
    log: Arc<PluginLog>,
    granted: Arc<Granted>,
    pool: Arc<Pool>,
    limit: PluginLimit,
    pace: Pace,
    /// What a fresh instance has of memories and tables.
    footprint_bytes: usize,
    commands: Vec<CommandInfo>,
}

impl Plugin {
    /// Loads the component of `spec` and asks it for its commands.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is no component, does not fit the world, needs what is not there, or fails to
    /// describe itself within its limits.
    pub async fn load(sandbox: Arc<Sandbox>, spec: Spec) -> Result<Self, LoadError> {
        let check = |bytes: &[u8], spec: &Spec| fit::check_imports(bytes, &spec.key, &spec.grants);
        match compile(&sandbox, &spec, check).await {
            Ok(compiled) => Self::of(&compiled, sandbox, spec).await,
            Err(reason) => Err(spec.error(reason)),
        }
    }

    /// The same, of a component that is compiled already.
    pub(super) async fn of(of: &Compiled, sandbox: Arc<Sandbox>, spec: Spec) -> Result<Self, LoadError> {
        let linked = link(of, &spec).map_err(|reason| spec.error(reason))?;
        host::check_directories(&spec.grants, sandbox.reserved()).map_err(|reason| spec.error(reason))?;
        let mut plugin = Self {
            pool: Arc::new(new_pool(&spec, &sandbox)),
            log: Arc::new(PluginLog::new(Arc::clone(&spec.name))),
            granted: Arc::new(spec.grants.prepare(sandbox.web(), sandbox.topics(), sandbox.reserved())),
            limit: PluginLimit::new(spec.concurrency, sandbox.queue()),
            sha256: of.sha256,
            debug: Arc::clone(&of.debug),
            pace: Pace::default(),
            footprint_bytes: 0,
            commands: Vec::new(),
            spec,
            sandbox,
            runtime: Arc::clone(&of.runtime),
            world: of.world,
            linked: Arc::new(linked),
        };
        match plugin.describe().await {
            Ok((commands, footprint)) => (plugin.commands, plugin.footprint_bytes) = (commands, footprint),
            Err(reason) => return Err(plugin.spec.error(reason)),
        }
        plugin.sandbox.budget().watch(&plugin.pool);
        Ok(plugin)
    }

    /// The same component, which is not looked at anew, with `grants` instead of its own. They link nothing more than those
    /// did: what is imported and no more granted is to be there as an empty grant. Calls under way are not concerned.
    #[must_use]
    pub fn with_grants(&self, grants: Grants) -> Self {
        let spec = Spec { grants, ..self.spec.clone() };
        let plugin = Self {
            sha256: self.sha256,
            debug: Arc::clone(&self.debug),
            sandbox: Arc::clone(&self.sandbox),
            runtime: Arc::clone(&self.runtime),
            world: self.world,
            linked: Arc::clone(&self.linked),
            log: Arc::clone(&self.log),
            granted: Arc::new(spec.grants.prepare(
                self.sandbox.web(),
                self.sandbox.topics(),
                self.sandbox.reserved(),
            )),
            pool: Arc::new(new_pool(&spec, &self.sandbox)),
            limit: PluginLimit::new(spec.concurrency, self.sandbox.queue()),
            pace: self.pace.clone(),
            footprint_bytes: self.footprint_bytes,
            commands: self.commands.clone(),
            spec,
        };
        plugin.sandbox.budget().watch(&plugin.pool);
        plugin
    }

    /// What it may use beyond what every plugin may.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.spec.grants
    }

    /// The plugin's name in the config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// SHA-256 of its component.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Why the debug file beside its component is not used, if there is one.
    #[must_use]
    pub fn debug_fault(&self) -> Option<&DebugFault> {
        self.debug.fault()
    }

    /// How long one of its commands may take; one that streams, from one part to the next.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.spec.timeout
    }

    /// How long one of its calls may take in all.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        if self.is_streaming() { UNLIMITED } else { self.spec.timeout }
    }

    /// The commands, as the plugin describes them.
    #[must_use]
    pub fn commands(&self) -> &[CommandInfo] {
        &self.commands
    }

    /// Whether it may run other commands: then its calls have to carry what runs them.
    #[must_use]
    pub fn runs_commands(&self) -> bool {
        self.spec.grants.commands.is_some()
    }

    /// Whether it was granted to run `command`.
    #[must_use]
    pub fn may_run(&self, command: &str) -> bool {
        self.spec.grants.commands.as_ref().is_some_and(|gate| (gate.0)(command))
    }

    /// Whether its commands give streams: then [`run_streaming`](super::run_streaming) is the way to call them.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.world == World::StreamingPlugin
    }

    /// Whether calls that are at hand together are worth handing over together.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.linked.is_worker() && self.limit.is_unlimited()
    }

    /// Drops warm instances that were not called for long; to be called now and then.
    pub fn retire_idle(&self, now: Instant) {
        self.pool.retire_idle(now);
    }

    /// How long one of its calls may compute, where that is not the same as how long it may take.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.spec.cpu_time.filter(|cpu_time| *cpu_time < self.spec.timeout)
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The slots in which its calls run.
    pub(super) fn slots(&self) -> &Slots {
        self.runtime.slots()
    }

    /// The limit on its running calls.
    pub(super) fn limit(&self) -> &PluginLimit {
        &self.limit
    }

    /// Counts one more call of a client as running, before all else that the call needs; waits if the client is at
    /// its limit. The call then runs by [`run_reserved`](super::run_reserved).
    ///
    /// # Errors
    ///
    /// `busy` or `timeout`.
    pub async fn reserve(&self, limit: &ClientLimit, deadline: Instant) -> Result<ClientSlot, CommandError> {
        limit.acquire(self.slots().queue(), deadline).await
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Moves `call` to the threads for calls that compute, whenever it does.
    pub(super) fn offload<F>(&self, call: F) -> Offloaded<F>
    where
        F: Future + Send + Unpin + 'static,
        F::Output: Send,
    {
        self.sandbox.compute().offload(call)
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn max_reply_bytes(&self) -> usize {
        self.spec.reply_bytes
    }

    /// A fresh instance. Where there is no room for one, idle ones are given up, of whatever plugin.
    pub(super) async fn instantiate(&self) -> wasmtime::Result<Instance> {
        loop {
            match self.new_instance().await {
                Ok(instance) => return Ok(instance),
                Err(error)
                    if error.is::<PoolConcurrencyLimitError>() && self.sandbox.budget().give_up_oldest() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn new_instance(&self) -> wasmtime::Result<Instance> {
        let state = self.new_state(self.sandbox.budget())?;
        let instance = self.instance_of(state, Purpose::Calls).await;
        instance.map_err(|(error, state)| match state.memory.refusal() {
            Some(MemoryRefusal::Server) => error.context(self.sandbox.budget().spent()),
            _ => error,
        })
    }

    pub(super) async fn instance_of(
        &self,
        state: HostState,
        purpose: Purpose,
    ) -> Result<Instance, (wasmtime::Error, HostState)> {
        Instance::new(self.runtime.engine(), &self.linked, state, purpose).await
    }

    /// The host's part of an instance whose memory is charged to `budget`.
    pub(super) fn new_state(&self, budget: &Arc<Budget>) -> Result<HostState, BudgetSpent> {
        Ok(HostState {
            call: None,
            memory: MemoryLimiter::new(
                self.spec.memory_bytes,
                MAX_TABLE_ELEMENTS,
                Arc::clone(budget),
                self.footprint_bytes,
                reserve_bytes(self.world),
            )?,
            pace: self.pace.clone(),
            first_tick: None,
            log: Arc::clone(&self.log),
            granted: Arc::clone(&self.granted),
            volume: Volume::new(self.spec.volume),
            printer: None,
            max_reply_bytes: self.spec.reply_bytes,
            handles: Handles::new(),
            base: None,
            http: None,
            desk: None,
            streaming: None,
        })
    }
}

fn link(compiled: &Compiled, spec: &Spec) -> Result<Linked, String> {
    let Compiled { component, world, runtime, .. } = compiled;
    let engine = runtime.engine();
    let misfits = fit::misfits(component, engine, *world, &spec.key, &spec.grants);
    if !misfits.is_empty() {
        return Err(misfits.join("\n"));
    }
    if *world == World::StreamingPlugin && spec.instances != Instances::PerRequest {
        return Err(format!(
            "its commands give streams, and each of these has an instance of its own; take `instances` out of \
             [{}], or leave out `--instances`",
            spec.key
        ));
    }
    let linker =
        host::linker(engine, &spec.grants).map_err(|error| format!("the host can't be linked: {error:#}"))?;
    // One call is quicker made than an instance entered for many.
    let entry = match spec.instances {
        _ if *world == World::StreamingPlugin => None,
        Instances::PerRequest => world::handle(component, engine).map(Entry::Handle),
        Instances::PerClient | Instances::Shared => world::worker(component, engine).map(Entry::Worker),
    };
    let entry = entry.unwrap_or(Entry::World);
    let linked = linker.instantiate_pre(component);
    linked
        .and_then(|linked| Linked::new(linked, *world, entry))
        .map_err(|error| format!("it does not fit this host's version of the interfaces: {error:#}"))
}

fn new_pool(spec: &Spec, sandbox: &Sandbox) -> Pool {
    let retirement = Retirement { max_calls: spec.max_calls, idle: spec.idle };
    Pool::new(spec.instances, retirement, sandbox.max_idle_instances())
}
