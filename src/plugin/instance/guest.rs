//! A guest in its store, which is the only way into it.
//!
//! Invariant: guests run only in polls that the [ticker] counts. The store is handed only to the future that
//! [`GuestStore::enter`] polls, and no other file makes one, which a test checks. A guest that ran elsewhere
//! would run without a clock: nothing could stop it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use smallvec::SmallVec;
use wasm_encoder::{CustomSection, Section as _};
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Engine, Store, WasmCoreDump};

use super::linked::{Commands, Exports, Linked, Purpose};
use super::sink::GuestSink;
use crate::plugin::bindings::lictor::plugin::types::CommandInfo;
use crate::plugin::call::Call;
use crate::plugin::cpu::hint::{FIRST_TICKS, yield_after_tick};
use crate::plugin::cpu::ticker;
use crate::plugin::debug::backtrace;
use crate::plugin::debug::places::Places;
use crate::plugin::host::answer::Answer;
use crate::plugin::host::context::{HostState, SharedQueue, Streaming, max_piece_bytes};
use crate::plugin::host::handles::bound_tables;
use crate::plugin::stream::pipe::PipeWriter;
use crate::wire::Reply;

/// The section of a core dump with its backtrace in words.
const BACKTRACE_SECTION: &str = "lictor.backtrace";

/// An instance of a component, as wasmtime makes it.
pub(in crate::plugin) struct Guest {
    store: GuestStore,
    exports: Exports,
}

impl Guest {
    /// Instantiates a plugin in a store of its own.
    pub(in crate::plugin) async fn new(
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

    /// Asks an instance that was made for it for the plugin's commands.
    pub(in crate::plugin) async fn describe(&mut self) -> wasmtime::Result<Vec<CommandInfo>> {
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

    /// Runs `call`. After an error, or if the future is dropped before its end, the guest can't be used
    /// again.
    pub(in crate::plugin) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<Reply> {
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
        self.store.state_mut().end(answer)
    }

    /// Runs `call`, whose parts go into `writer`, to the end of its stream; returns its reply, which is empty
    /// unless it failed. The guest can't be used again.
    pub(in crate::plugin) async fn stream(
        &mut self,
        call: &Arc<Call>,
        streaming: Streaming,
        writer: PipeWriter,
    ) -> wasmtime::Result<Reply> {
        let Commands::Streaming(plugin) = &self.exports.commands else {
            wasmtime::bail!("its commands give no streams");
        };
        let (sink, closed) = GuestSink::new(writer, Arc::clone(&streaming.progress));
        let state = self.store.state_mut();
        state.begin(Arc::clone(call));
        state.streaming = Some(streaming);
        let arguments: Vec<String> = call.request().arguments().map(str::to_owned).collect();
        let commands = plugin.lictor_plugin_streaming_commands();
        let streams = async |accessor: &Accessor<HostState>| {
            match commands.call_handle(accessor, arguments).await? {
                Ok(stream) => accessor.with(|store| stream.pipe(store, sink))?,
                Err(failure) => return Ok(Err(failure)),
            }
            // Ends when the sender is dropped.
            let _ = closed.await;
            Ok(Ok(Vec::new()))
        };
        let streamed: wasmtime::Result<_> = self.store.enter(|store| store.run_concurrent(streams)).await?;
        let answer: Answer = streamed?;
        let state = self.store.state_mut();
        let failure = state.streaming.take().and_then(|streaming| streaming.failure);
        Ok(failure.map_or(Ok(()), Err).and(state.end(answer)?))
    }

    /// Returns true if it can stay entered, by [`work`](Self::work).
    pub(super) fn is_worker(&self) -> bool {
        self.exports.worker.is_some()
    }

    /// Enters the guest, which then takes its calls from `queue`; returns the error that ends this. It can't
    /// be used again.
    pub(super) async fn work(&mut self, queue: SharedQueue) -> wasmtime::Error {
        self.store.state_mut().queue = Some(queue);
        let Some(worker) = &self.exports.worker else {
            return wasmtime::format_err!("it has no `worker.run`");
        };
        match self.store.enter(|store| worker.call_async(store, ())).await {
            Ok(()) => wasmtime::format_err!("its `worker.run` returned"),
            Err(error) => error,
        }
    }

    /// Returns the core dump of the trap in `error`, if the engine makes one. It is as large as the
    /// instance's memories, so it takes time. `name` is the plugin's in the dump.
    ///
    /// The format has no place for source lines, so the backtrace with these is a section of its own.
    pub(in crate::plugin) fn into_core_dump(
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

    pub(in crate::plugin) fn state(&self) -> &HostState {
        self.store.state()
    }
}

/// A guest's store.
struct GuestStore(Store<HostState>);

impl GuestStore {
    /// Makes a store with nothing in it. `max_host_call_bytes` bounds the bytes that the guest may hand to
    /// the host at once.
    fn new(engine: &Engine, state: HostState, max_host_call_bytes: usize) -> Self {
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(max_host_call_bytes);
        bound_tables(store.as_context_mut());
        store.epoch_deadline_callback(|mut state| {
            ticker::note_tick();
            let state = state.data_mut();
            Ok(yield_after_tick(state.call.as_ref(), &state.hint, &mut state.first_tick))
        });
        Self(store)
    }

    /// Runs the guest through the future that `run` makes of the store; each poll of it is counted.
    async fn enter<'a, F: Future>(
        &'a mut self,
        run: impl FnOnce(&'a mut Store<HostState>) -> F,
    ) -> F::Output {
        self.0.set_epoch_deadline(FIRST_TICKS);
        // Made here instead of passed in: a future that is moved after it is made takes its space twice in
        // each future that holds it.
        let mut running = pin!(run(&mut self.0));
        poll_fn(|cx| ticker::entered(|| running.as_mut().poll(cx))).await
    }

    fn state(&self) -> &HostState {
        self.0.data()
    }

    fn state_mut(&mut self) -> &mut HostState {
        self.0.data_mut()
    }

    fn into_state(self) -> HostState {
        self.0.into_data()
    }

    /// Returns `dump` as bytes. Reads the guest's memories and runs nothing of it.
    fn into_core_dump(mut self, dump: &WasmCoreDump, name: &str) -> Vec<u8> {
        dump.serialize(&mut self.0, name)
    }
}
