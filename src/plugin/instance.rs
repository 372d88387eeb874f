//! One instance of a plugin: its store, its limits, and the call that it is at.

use std::sync::Arc;

use smallvec::SmallVec;
use wasm_encoder::{CustomSection, Section as _};
use wasmtime::component::{Accessor, ComponentExportIndex, Func, InstancePre, TypedFunc};
use wasmtime::{Engine, Store, WasmCoreDump};

use super::backtrace;
use super::bindings::lictor::plugin::types::{CommandInfo, Failure};
use super::bindings::streaming::{StreamingPlugin, StreamingPluginIndices};
use super::bindings::{Plugin, PluginIndices};
use super::bounds::{FirstTick, MemoryLimiter, Pace};
use super::call::Call;
use super::host::{Base, CallLabel, Granted, Handles, Http, PluginLog, Printer, Volume};
use super::places::Places;
use super::store::GuestStore;
use super::stream::{Intake, Outlet, Streaming};
use super::worker::{Answer, Desk};
use super::world::World;
use crate::state::MAX_BYTES_PER_CALL;

/// The section of a core dump that has its backtrace in words.
const BACKTRACE_SECTION: &str = "lictor.backtrace";

/// What the host keeps beside an instance's memory; host functions get at it.
pub(super) struct HostState {
    /// The call being handled; none while `describe` runs.
    pub(super) call: Option<Arc<Call>>,
    pub(super) memory: MemoryLimiter,
    /// By which it computes beside others.
    pub(super) pace: Pace,
    /// When the current call was first seen to compute, where it was.
    pub(super) first_tick: Option<FirstTick>,
    pub(super) log: Arc<PluginLog>,
    pub(super) granted: Arc<Granted>,
    /// What the current call may still ask of the host.
    pub(super) volume: Volume,
    /// By which the current call prints through `lictor:plugin/output`, made when it does.
    pub(super) printer: Option<Box<Printer>>,
    /// The longest reply, in bytes.
    pub(super) max_reply_bytes: usize,
    /// What the guest holds handles of: streams, stores, requests.
    pub(super) handles: Handles,
    /// What WASI's base keeps. Most plugins never ask for it, so it is made when one does.
    pub(super) base: Option<Box<Base>>,
    /// The current call's HTTP requests, made at the first. To drop it cuts off those that are under way.
    pub(super) http: Option<Box<Http>>,
    /// Where an instance that stays entered gets its calls.
    pub(super) desk: Option<Arc<Desk>>,
    /// Where the current call gives a stream.
    pub(super) streaming: Option<Streaming>,
}

impl HostState {
    /// The request being handled, as the log and the plugin know it; empty while there is none.
    pub(super) fn request_id(&self) -> String {
        self.call.as_ref().map(|call| call.id().to_string()).unwrap_or_default()
    }

    /// What the log says of the call that is handled.
    pub(super) fn label(&self) -> Option<CallLabel> {
        self.call.as_deref().map(CallLabel::from)
    }

    /// Begins `call`, with all that it may use.
    pub(super) fn begin(&mut self, call: Arc<Call>) {
        self.memory.forget_refusal();
        self.first_tick = None;
        self.volume.begin();
        self.printer = None;
        self.http = None;
        if let Some(base) = &self.base {
            base.begin(Some(&call));
        }
        call.begin();
        self.call = Some(call);
    }

    /// A call that streams went on: what holds for a call holds for it from one step to the next.
    pub(super) fn went_on(&mut self) {
        self.volume.begin();
        if let Some(printer) = &mut self.printer {
            printer.renew();
        }
        if let Some(base) = &self.base {
            base.renew();
        }
    }

    /// Logs that the call got no more memory, where it did not and nothing said so.
    fn tell_refusal(&self) {
        if let Some(refusal) = self.memory.untold_refusal() {
            self.log.short_of_memory(self.label().as_ref(), &refusal.to_string(), refusal.advice());
        }
    }

    /// Ends the call that gave its answer, cuts off what it still had under way, and forgets it.
    ///
    /// # Errors
    ///
    /// When it asked for more of the host than it may.
    pub(super) fn end(&mut self) -> wasmtime::Result<()> {
        self.volume.check()?;
        self.handles.settle(&mut self.memory)?;
        self.tell_refusal();
        self.call = None;
        self.http = None;
        self.printer = None;
        if let Some(base) = &self.base {
            base.begin(None);
        }
        Ok(())
    }
}

impl Drop for HostState {
    /// In the middle of a call, however that was ended.
    fn drop(&mut self) {
        if self.call.is_some() {
            self.tell_refusal();
        }
    }
}

/// What a plugin's instances are made of.
pub(super) struct Linked {
    component: InstancePre<HostState>,
    exports: Indices,
    entry: Entry,
}

/// Where a component has what its world exports.
enum Indices {
    Plugin(PluginIndices),
    Streaming(StreamingPluginIndices),
}

/// By what instances are entered for calls. To look up an export costs a fresh instance as much as a part of the call.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    /// `handle` alone: there will be one call.
    Handle(ComponentExportIndex),
    /// All that the world exports.
    World,
    /// The same, and the function by which they stay entered.
    Worker(ComponentExportIndex),
}

/// What an instance is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be asked for its commands.
    Description,
    /// To carry them out.
    Calls,
}

impl Linked {
    /// `component` of `world`, whose imports are linked and whose instances are entered by `entry`.
    ///
    /// # Errors
    ///
    /// When it lacks what its world exports.
    pub(super) fn new(
        component: InstancePre<HostState>,
        world: World,
        entry: Entry,
    ) -> wasmtime::Result<Self> {
        let exports = match world {
            World::Plugin => Indices::Plugin(PluginIndices::new(&component)?),
            World::StreamingPlugin => Indices::Streaming(StreamingPluginIndices::new(&component)?),
        };
        Ok(Self { exports, component, entry })
    }

    /// Whether instances stay entered.
    pub(super) fn is_worker(&self) -> bool {
        matches!(self.entry, Entry::Worker(_))
    }

    async fn instantiate(&self, store: &mut Store<HostState>, purpose: Purpose) -> wasmtime::Result<Exports> {
        let instance = self.component.instantiate_async(&mut *store).await?;
        if let (Entry::Handle(handle), Purpose::Calls) = (self.entry, purpose) {
            let handle = instance.get_func(&mut *store, handle);
            let handle = handle.ok_or_else(|| wasmtime::format_err!("it has no `commands.handle`"))?;
            return Ok(Exports { commands: Commands::Handle(handle), worker: None });
        }
        let commands = match &self.exports {
            Indices::Plugin(indices) => Commands::Plugin(indices.load(&mut *store, &instance)?),
            Indices::Streaming(indices) => Commands::Streaming(indices.load(&mut *store, &instance)?),
        };
        let worker = match self.entry {
            Entry::Worker(worker) => Some(instance.get_typed_func(&mut *store, worker)?),
            Entry::Handle(_) | Entry::World => None,
        };
        Ok(Exports { commands, worker })
    }
}

/// What an instance can be entered by.
struct Exports {
    commands: Commands,
    worker: Option<TypedFunc<(), ()>>,
}

enum Commands {
    Handle(Func),
    Plugin(Plugin),
    Streaming(StreamingPlugin),
}

/// An instance that can be called.
pub(super) struct Instance {
    store: GuestStore,
    exports: Exports,
}

impl Instance {
    /// Instantiates a plugin in a store of its own.
    pub(super) async fn new(
        engine: &Engine,
        linked: &Linked,
        state: HostState,
        purpose: Purpose,
    ) -> Result<Self, (wasmtime::Error, HostState)> {
        let max_piece_bytes = max_piece_bytes(state.max_reply_bytes);
        let mut store = GuestStore::new(engine, state, max_piece_bytes);
        // A start function computes too.
        match store.enter(|store| linked.instantiate(store, purpose)).await {
            Ok(exports) => Ok(Self { store, exports }),
            Err(error) => Err((error, store.into_state())),
        }
    }

    /// The plugin's description of its commands, from an instance that was made for it.
    pub(super) async fn describe(&mut self) -> wasmtime::Result<Vec<CommandInfo>> {
        let commands = &self.exports.commands;
        let describing = self.store.enter(async |store| match commands {
            Commands::Handle(_) => wasmtime::bail!("it was made for calls"),
            Commands::Plugin(plugin) => plugin.lictor_plugin_commands().call_describe(store).await,
            Commands::Streaming(plugin) => {
                plugin.lictor_plugin_streaming_commands().call_describe(store).await
            }
        });
        describing.await
    }

    /// Carries out `call`. After an error, or when the future is dropped before its end, the instance can't be used
    /// again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<Answer> {
        self.store.state_mut().begin(Arc::clone(call));
        let arguments: SmallVec<[&str; 8]> = call.request().arguments().collect();
        let commands = &self.exports.commands;
        let handling = self.store.enter(async |store| match commands {
            Commands::Handle(handle) => {
                let handle = handle.typed::<(&[&str],), (Answer,)>(&store)?;
                let (answer,) = handle.call_async(store, (&arguments,)).await?;
                Ok(answer)
            }
            Commands::Plugin(plugin) => plugin.lictor_plugin_commands().call_handle(store, &arguments).await,
            Commands::Streaming(_) => wasmtime::bail!("its commands give streams"),
        });
        let answer = handling.await?;
        self.store.state_mut().end()?;
        Ok(answer)
    }

    /// Carries out `call`, whose reply goes into `outlet`, to the end of its stream. The instance can't be used again.
    pub(super) async fn stream(
        &mut self,
        call: &Arc<Call>,
        streaming: Streaming,
        outlet: Outlet,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let Commands::Streaming(plugin) = &self.exports.commands else {
            wasmtime::bail!("its commands give no streams");
        };
        let (intake, closed) = Intake::new(outlet, Arc::clone(&streaming.progress));
        let state = self.store.state_mut();
        state.begin(Arc::clone(call));
        state.streaming = Some(streaming);
        let arguments: Vec<String> = call.request().arguments().map(str::to_owned).collect();
        let commands = plugin.lictor_plugin_streaming_commands();
        let streams = async |accessor: &Accessor<HostState>| {
            match commands.call_handle(accessor, arguments).await? {
                Ok(stream) => accessor.with(|store| stream.pipe(store, intake))?,
                Err(failure) => return Ok(Err(failure)),
            }
            // That the sender is gone is what is waited for.
            let _ = closed.await;
            Ok(Ok(()))
        };
        let streamed: wasmtime::Result<_> = self.store.enter(|store| store.run_concurrent(streams)).await?;
        let answer = streamed?;
        let state = self.store.state_mut();
        let failure = state.streaming.take().and_then(|streaming| streaming.failure);
        state.end()?;
        Ok(answer.and(failure.map_or(Ok(()), Err)))
    }

    /// Whether it can stay entered, by [`work`](Self::work).
    pub(super) fn is_worker(&self) -> bool {
        self.exports.worker.is_some()
    }

    /// Enters the instance, which takes its calls from `desk` then, and gives what ended that. It can't be used again.
    pub(super) async fn work(&mut self, desk: Arc<Desk>) -> wasmtime::Error {
        self.store.state_mut().desk = Some(desk);
        let Some(worker) = &self.exports.worker else {
            return wasmtime::format_err!("it has no `worker.run`");
        };
        match self.store.enter(|store| worker.call_async(store, ())).await {
            Ok(()) => wasmtime::format_err!("its `worker.run` returned"),
            Err(error) => error,
        }
    }

    /// The core dump of the trap in `error`, by which a call broke off in this instance; none where the engine makes
    /// none. `name` is what it calls the plugin. As large as what the instance's memories hold, so it takes its time.
    ///
    /// The form of core dumps has no lines of an author's files, so the backtrace with these is a section of its own.
    pub(super) fn into_core_dump(
        self,
        error: &wasmtime::Error,
        name: &str,
        places: &Places,
    ) -> Option<Vec<u8>> {
        let mut dump = self.store.into_core_dump(error.downcast_ref::<WasmCoreDump>()?, name);
        if let Some(text) = backtrace::backtrace(error, places) {
            let section = CustomSection { name: BACKTRACE_SECTION.into(), data: text.as_bytes().into() };
            section.append_to(&mut dump);
        }
        Some(dump)
    }

    pub(super) fn state(&self) -> &HostState {
        self.store.state()
    }
}

/// What a guest may hand to the host in one piece, by a function of the host or as what it returns: all that a store takes
/// at once, or its reply. What that is allowed for is bounded by itself; this keeps the host from copying without end
/// before it can look.
pub(super) fn max_piece_bytes(max_reply_bytes: usize) -> usize {
    MAX_BYTES_PER_CALL.max(max_reply_bytes).saturating_add(PIECE_SLACK_BYTES)
}

/// What stands beside that: places of texts in a list, the name of a store, the words of a failure.
const PIECE_SLACK_BYTES: usize = 64 << 10;
