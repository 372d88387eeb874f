//! One instance of a plugin: its store, its limits, and the call that it is at.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, WasmCoreDump};

use super::bindings;
use super::bounds::{MemoryLimiter, Pace, give_way};
use super::host::{Base, Granted, Http, PluginLog, Volume};
use super::invoke::Call;

/// What the host keeps beside an instance's memory; host functions get at it.
pub(super) struct HostState {
    /// The call being handled; none while `describe` runs.
    pub(super) call: Option<Arc<Call>>,
    pub(super) memory: MemoryLimiter,
    /// By which it computes beside others.
    pub(super) pace: Pace,
    pub(super) log: Arc<PluginLog>,
    pub(super) granted: Arc<Granted>,
    /// What the current call may still ask of the host.
    pub(super) volume: Volume,
    /// Bytes that the current call printed through `lictor:plugin/output`.
    pub(super) printed_bytes: usize,
    /// What the guest holds handles of: streams, stores, requests.
    pub(super) table: ResourceTable,
    /// What WASI's base keeps. Most plugins never ask for it, so it is made when one does.
    pub(super) base: Option<Box<Base>>,
    /// The current call's HTTP requests, made at the first. To drop it cuts off those that are under way.
    pub(super) http: Option<Box<Http>>,
}

impl HostState {
    /// The request being handled, as the log and the plugin know it; empty while there is none.
    pub(super) fn request_id(&self) -> String {
        self.call.as_ref().map(|call| call.id.to_string()).unwrap_or_default()
    }
}

/// An instance that can be called.
pub(super) struct Instance {
    store: Store<HostState>,
    exports: bindings::Plugin,
    calls: u32,
    last_used: Instant,
}

impl Instance {
    /// Instantiates a plugin in a store of its own.
    ///
    /// `max_reply_bytes` also bounds what the guest may hand to the host in one piece.
    pub(super) async fn new(
        engine: &Engine,
        plugin: &bindings::PluginPre<HostState>,
        state: HostState,
        max_reply_bytes: usize,
    ) -> Result<Self, (wasmtime::Error, HostState)> {
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(max_reply_bytes.saturating_add(HOST_CALL_SLACK_BYTES));
        store.epoch_deadline_callback(|state| Ok(give_way(state.data())));
        // A start function computes too.
        store.set_epoch_deadline(1);
        match plugin.instantiate_async(&mut store).await {
            Ok(exports) => Ok(Self { store, exports, calls: 0, last_used: Instant::now() }),
            Err(error) => Err((error, store.into_data())),
        }
    }

    /// The plugin's description of its commands.
    pub(super) async fn describe(
        &mut self,
    ) -> wasmtime::Result<Vec<bindings::exports::lictor::plugin::commands::CommandInfo>> {
        self.store.set_epoch_deadline(1);
        self.exports.lictor_plugin_commands().call_describe(&mut self.store).await
    }

    /// Carries out `call`. After an error, or when the future is dropped before its end, the instance can't be used
    /// again.
    pub(super) async fn handle(
        &mut self,
        call: &Arc<Call>,
        arguments: &[&str],
    ) -> wasmtime::Result<Result<Vec<u8>, bindings::exports::lictor::plugin::commands::Failure>> {
        self.calls += 1;
        let state = self.store.data_mut();
        state.call = Some(Arc::clone(call));
        state.memory.forget_refusal();
        state.volume.begin();
        state.printed_bytes = 0;
        state.http = None;
        if let Some(base) = &state.base {
            base.begin(Some(call));
        }
        self.store.set_epoch_deadline(1);
        let answer = self.exports.lictor_plugin_commands().call_handle(&mut self.store, arguments).await?;
        self.store.data().volume.check()?;
        Ok(answer)
    }

    /// Calls that it has run.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    /// When its last call ended.
    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Cuts off what the call that ended still had under way.
    pub(super) fn end_call(&mut self) {
        self.store.data_mut().http = None;
    }

    /// Forgets the call that ended, so that an idle instance holds no request.
    pub(super) fn rest(&mut self) {
        let state = self.store.data_mut();
        state.call = None;
        state.http = None;
        if let Some(base) = &state.base {
            base.begin(None);
        }
        self.last_used = Instant::now();
    }

    /// The core dump of the trap in `error`, by which a call broke off in this instance; none where the engine makes
    /// none. `name` is what it calls the plugin. As large as what the instance's memories hold, so it takes its time.
    pub(super) fn into_core_dump(mut self, error: &wasmtime::Error, name: &str) -> Option<Vec<u8>> {
        let dump = error.downcast_ref::<WasmCoreDump>()?;
        Some(dump.serialize(&mut self.store, name))
    }

    pub(super) fn state(&self) -> &HostState {
        self.store.data()
    }
}

/// What a guest may hand over in one piece beside its reply: the words of a failure, a line of output.
const HOST_CALL_SLACK_BYTES: usize = 64 << 10;
