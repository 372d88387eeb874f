//! A loaded plugin: its limits, its pool, and its fresh instances.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::PoolConcurrencyLimitError;

use super::call::Call;
use super::cpu::hint::CpuHint;
use super::cpu::offload::Offloaded;
use super::debug::places::Places;
use super::engine::{Engine, MAX_TABLE_ELEMENTS};
use super::host::context::HostState;
use super::host::granted::Granted;
use super::host::grants::Grants;
use super::host::handles::{Handles, reserve_bytes};
use super::host::stdio::PluginLog;
use super::host::volume::Volume;
use super::instance::guest::Guest;
use super::instance::linked::{Linked, Purpose};
use super::instance::pool::{Pool, Retirement};
use super::load::debug::{Debug, DebugFault};
use super::memory::budget::{Budget, BudgetSpent};
use super::memory::limiter::MemoryLimiter;
use super::memory::refusal::MemoryRefusal;
use super::sandbox::Sandbox;
use super::slots::{ClientCall, ClientLimit, PluginLimit, Slots, timed};
use super::spec::{CommandInfo, Spec};
use super::world::World;
use crate::telemetry::metrics::{LiveInstance, OfPlugin};
use crate::wire::{CommandError, Request};

/// Limit of a call that has none, short enough to be added to a time.
const UNLIMITED: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A plugin that can be called.
pub struct Plugin {
    spec: Spec,
    component: Loaded,
    granted: Arc<Granted>,
    pool: Arc<Pool>,
    limit: PluginLimit,
    takes_many: bool,
    metrics: Arc<OfPlugin>,
}

/// A plugin's component after loading; the same under all its grants.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) sha256: [u8; 32],
    /// The size of its file.
    pub(super) size_bytes: usize,
    pub(super) debug: Arc<Debug>,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) engine: Arc<Engine>,
    pub(super) world: World,
    pub(super) linked: Arc<Linked>,
    pub(super) log: Arc<PluginLog>,
    pub(super) hint: CpuHint,
    /// Bytes of a fresh instance's memories and tables.
    pub(super) footprint_bytes: usize,
    pub(super) commands: Vec<CommandInfo>,
}

impl Plugin {
    /// Makes a plugin of a component that fits `spec`.
    pub(super) fn new(spec: Spec, component: Loaded) -> Self {
        let Loaded { sandbox, .. } = &component;
        let retirement = Retirement { max_calls: spec.max_calls, idle: spec.idle };
        let metrics = OfPlugin::of(&spec.name);
        let pool = Pool::new(spec.instances, retirement, sandbox.max_idle_instances(), Arc::clone(&metrics));
        let pool = Arc::new(pool);
        sandbox.budget().watch(Arc::clone(&pool) as _);
        Self {
            granted: Arc::new(spec.grants.prepare(sandbox.web(), sandbox.topics(), sandbox.reserved())),
            limit: PluginLimit::new(spec.concurrency, sandbox.queue()),
            takes_many: component.linked.is_worker() && spec.concurrency.is_none(),
            pool,
            metrics,
            spec,
            component,
        }
    }

    /// Adds what is known once a fresh instance has described itself.
    pub(super) fn described(self, commands: Vec<CommandInfo>, footprint_bytes: usize) -> Self {
        Self { component: Loaded { commands, footprint_bytes, ..self.component }, ..self }
    }

    /// The same component under other `grants`, without loading it anew. The grants may only shrink: an
    /// import that is no longer granted becomes an empty grant. Calls in progress keep theirs.
    #[must_use]
    pub fn with_grants(&self, grants: Grants) -> Self {
        Self::new(Spec { grants, ..self.spec.clone() }, self.component.clone())
    }

    /// Grants beyond what every plugin may use.
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
        &self.component.sha256
    }

    /// Reason for which the debug file beside its component is not used, if there is one.
    #[must_use]
    pub fn debug_fault(&self) -> Option<&DebugFault> {
        self.component.debug.fault()
    }

    /// Longest time for one of its calls; for a stream, from one part to the next.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.spec.timeout
    }

    /// Longest time for one of its calls in all.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        if self.is_streaming() { UNLIMITED } else { self.spec.timeout }
    }

    /// Its commands, as it describes them.
    #[must_use]
    pub fn commands(&self) -> &[CommandInfo] {
        &self.component.commands
    }

    /// Returns true if it may run other commands, so that its calls have to be made
    /// [with](super::Call::with_commands) them.
    #[must_use]
    pub fn runs_commands(&self) -> bool {
        self.spec.grants.commands.is_some()
    }

    /// Returns true if it is granted to make `request`.
    #[must_use]
    pub fn may_run(&self, request: &Request) -> bool {
        self.spec.grants.commands.as_ref().is_some_and(|gate| (gate.0)(request))
    }

    /// Returns true if its commands return streams, so that [`run_streaming`](super::run_streaming) has to
    /// run them.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.component.world == World::StreamingPlugin
    }

    /// Returns true if several calls are worth handing over together.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.takes_many
    }

    /// Drops warm instances that were idle for long; to be called periodically.
    pub fn retire_idle(&self, now: Instant) {
        self.pool.retire_idle(now);
    }

    /// Longest time for which one of its calls may compute, if that is less than it may take.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.spec.cpu_time.filter(|cpu_time| *cpu_time < self.spec.timeout)
    }

    pub(super) fn sandbox(&self) -> &Sandbox {
        &self.component.sandbox
    }

    /// The slots in which its calls run.
    pub(super) fn slots(&self) -> &Slots {
        self.component.engine.slots()
    }

    /// The limit on its running calls.
    pub(super) fn limit(&self) -> &PluginLimit {
        &self.limit
    }

    /// Counts one more call of a client as running, before all else that the call needs; waits if the client
    /// is at its limit. The call then runs by [`run_one`](super::run_one).
    ///
    /// # Errors
    ///
    /// `busy` or `timeout`.
    pub async fn reserve(&self, limit: &ClientLimit, call: &Call) -> Result<ClientCall, CommandError> {
        let acquiring = pin!(limit.acquire(self.slots().queue(), call.deadline));
        timed(&self.metrics.waited, call.spent(), acquiring).await
    }

    pub(super) fn metrics(&self) -> &OfPlugin {
        &self.metrics
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
        self.component.sandbox.offload_pool().offload(call)
    }

    pub(super) fn hint(&self) -> &CpuHint {
        &self.component.hint
    }

    /// Source lines of its code.
    pub(super) fn places(&self) -> &Places {
        self.component.debug.places()
    }

    /// The specification and the component that it was made of.
    pub(super) fn parts(&self) -> (&Spec, &Loaded) {
        (&self.spec, &self.component)
    }

    pub(super) fn max_reply_bytes(&self) -> usize {
        self.spec.reply_bytes
    }

    /// Makes a fresh guest. If there is no room for one, idle ones are dropped, of any plugin.
    pub(super) async fn instantiate(&self) -> wasmtime::Result<Guest> {
        loop {
            match self.new_guest().await {
                Ok(guest) => return Ok(guest),
                Err(error)
                    if error.is::<PoolConcurrencyLimitError>()
                        && self.component.sandbox.budget().give_up_oldest() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn new_guest(&self) -> wasmtime::Result<Guest> {
        let state = self.new_state(self.component.sandbox.budget())?;
        let guest = self.guest_of(state, Purpose::Calls).await;
        guest.map_err(|(error, state)| match state.memory.refusal() {
            Some(MemoryRefusal::Server) => error.context(self.component.sandbox.budget().spent()),
            _ => error,
        })
    }

    pub(super) async fn guest_of(
        &self,
        state: HostState,
        purpose: Purpose,
    ) -> Result<Guest, (wasmtime::Error, HostState)> {
        let Loaded { engine, linked, .. } = &self.component;
        Guest::new(engine.wasmtime(), linked, state, purpose).await
    }

    /// Makes the host's state of an instance whose memory is charged to `budget`.
    pub(super) fn new_state(&self, budget: &Arc<Budget>) -> Result<HostState, BudgetSpent> {
        Ok(HostState {
            call: None,
            memory: MemoryLimiter::new(
                self.spec.memory_bytes,
                MAX_TABLE_ELEMENTS,
                Arc::clone(budget),
                self.component.footprint_bytes,
                reserve_bytes(self.component.world),
                LiveInstance::new(&self.metrics),
            )?,
            hint: self.component.hint.clone(),
            first_tick: None,
            log: Arc::clone(&self.component.log),
            granted: Arc::clone(&self.granted),
            volume: Volume::new(self.spec.volume),
            printer: None,
            max_reply_bytes: self.spec.reply_bytes,
            handles: Handles::new(),
            base: None,
            http: None,
            queue: None,
            streaming: None,
        })
    }
}
