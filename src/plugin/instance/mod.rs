//! Instances of plugins: made, entered for calls, kept warm, and pooled.

pub(super) mod linked;
pub(super) mod pool;
mod sink;
mod store;
pub(super) mod warm;
mod worker;

use std::sync::Arc;

use smallvec::SmallVec;
use wasm_encoder::{CustomSection, Section as _};
use wasmtime::component::Accessor;
use wasmtime::{Engine, WasmCoreDump};

use self::linked::{Commands, Exports, Linked, Purpose};
use self::sink::GuestSink;
use self::store::GuestStore;
use crate::plugin::bindings::lictor::plugin::types::{CommandInfo, Failure};
use crate::plugin::call::Call;
use crate::plugin::debug::backtrace;
use crate::plugin::debug::places::Places;
use crate::plugin::host::call_queue::{CallQueue, GuestReply};
use crate::plugin::host::context::{HostState, Streaming, max_piece_bytes};
use crate::plugin::stream::pipe::PipeWriter;

/// The section of a core dump with its backtrace in words.
const BACKTRACE_SECTION: &str = "lictor.backtrace";

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

    /// Asks an instance that was made for it for the plugin's commands.
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

    /// Runs `call`. After an error, or if the future is dropped before its end, the instance can't be used
    /// again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> wasmtime::Result<GuestReply> {
        self.store.state_mut().begin(Arc::clone(call));
        let arguments: SmallVec<[&str; 8]> = call.request().arguments().collect();
        let commands = &self.exports.commands;
        let handling = self.store.enter(async |store| match commands {
            Commands::Handle(handle) => {
                let handle = handle.typed::<(&[&str],), (GuestReply,)>(&store)?;
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

    /// Runs `call`, whose reply goes into `writer`, to the end of its stream. The instance can't be used
    /// again.
    pub(super) async fn stream(
        &mut self,
        call: &Arc<Call>,
        streaming: Streaming,
        writer: PipeWriter,
    ) -> wasmtime::Result<Result<(), Failure>> {
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
            Ok(Ok(()))
        };
        let streamed: wasmtime::Result<_> = self.store.enter(|store| store.run_concurrent(streams)).await?;
        let answer = streamed?;
        let state = self.store.state_mut();
        let failure = state.streaming.take().and_then(|streaming| streaming.failure);
        state.end()?;
        Ok(answer.and(failure.map_or(Ok(()), Err)))
    }

    /// Returns true if it can stay entered, by [`work`](Self::work).
    pub(super) fn is_worker(&self) -> bool {
        self.exports.worker.is_some()
    }

    /// Enters the instance, which then takes its calls from `queue`; returns the error that ends this. It
    /// can't be used again.
    pub(super) async fn work(&mut self, queue: Arc<CallQueue>) -> wasmtime::Error {
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
