//! The host's state of an instance: the call that it is at, and what that may use.

use std::sync::Arc;
use std::time::Duration;

use super::base::Base;
use super::call_queue::CallQueue;
use super::granted::Granted;
use super::handles::Handles;
use super::http::Http;
use super::stdio::{CallLabel, PluginLog, Printer};
use super::topics::Subscriber;
use super::volume::Volume;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::call::Call;
use crate::plugin::cpu::hint::{CpuHint, FirstTick};
use crate::plugin::memory::limiter::MemoryLimiter;
use crate::plugin::stream::progress::Progress;
use crate::state::MAX_BYTES_PER_CALL;

/// The host's state of an instance, which host functions are given.
pub(in crate::plugin) struct HostState {
    /// The call being handled; none while `describe` runs.
    pub(in crate::plugin) call: Option<Arc<Call>>,
    pub(in crate::plugin) memory: MemoryLimiter,
    /// Shared with the plugin's other instances; tells if calls start offloaded.
    pub(in crate::plugin) hint: CpuHint,
    /// Time at which the current call was first seen to compute.
    pub(in crate::plugin) first_tick: Option<FirstTick>,
    pub(in crate::plugin) log: Arc<PluginLog>,
    pub(in crate::plugin) granted: Arc<Granted>,
    /// Host calls and bytes that the current call has left.
    pub(in crate::plugin) volume: Volume,
    /// The current call's printer for `lictor:plugin/output`, made when it first prints.
    pub(in crate::plugin) printer: Option<Box<Printer>>,
    /// The longest reply, in bytes.
    pub(in crate::plugin) max_reply_bytes: usize,
    /// Resources of which the guest holds handles: streams, stores, requests.
    pub(in crate::plugin) handles: Handles,
    /// State of WASI's base. Most plugins never use it, so it is made when one does.
    pub(in crate::plugin) base: Option<Box<Base>>,
    /// The current call's HTTP requests, made at the first. Dropping it cuts off those in progress.
    pub(in crate::plugin) http: Option<Box<Http>>,
    /// The calls of an instance that stays entered.
    pub(in crate::plugin) queue: Option<Arc<CallQueue>>,
    /// State of the current call's stream, if it is one.
    pub(in crate::plugin) streaming: Option<Streaming>,
}

impl HostState {
    /// Returns the current request's name, as the log and the plugin know it; empty if there is none.
    pub(in crate::plugin) fn request_id(&self) -> String {
        self.call.as_ref().map(|call| call.id().to_string()).unwrap_or_default()
    }

    /// Returns the current call's label in the log.
    pub(in crate::plugin) fn label(&self) -> Option<CallLabel> {
        self.call.as_deref().map(CallLabel::from)
    }

    /// Begins `call`, with all that it may ask of the host.
    pub(in crate::plugin) fn begin(&mut self, call: Arc<Call>) {
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

    /// Renews what a call may ask of the host: for a stream it holds from one step to the next.
    pub(in crate::plugin) fn went_on(&mut self) {
        self.volume.begin();
        if let Some(printer) = &mut self.printer {
            printer.renew();
        }
        if let Some(base) = &self.base {
            base.renew();
        }
    }

    /// Notes what the instance takes as what its call took: its memory is never returned before it ends.
    fn note_memory(&self) {
        if let Some(call) = &self.call {
            call.spent().note_memory(self.memory.total_bytes());
        }
    }

    /// Logs that the call was refused memory, if it was and nothing has said so.
    fn tell_refusal(&self) {
        if let Some(refusal) = self.memory.untold_refusal() {
            self.log.short_of_memory(self.label().as_ref(), &refusal.to_string(), refusal.advice());
        }
    }

    /// Ends the call that has answered, and cuts off what it still had in progress.
    ///
    /// # Errors
    ///
    /// If it asked for more of the host than it may.
    pub(in crate::plugin) fn end(&mut self) -> wasmtime::Result<()> {
        self.note_memory();
        self.volume.check()?;
        self.handles.charge_rest(&mut self.memory)?;
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
    /// Ends in the middle of a call, for whatever reason.
    fn drop(&mut self) {
        if self.call.is_some() {
            self.note_memory();
            self.tell_refusal();
        }
    }
}

/// The host's state of a call that streams.
pub(in crate::plugin) struct Streaming {
    /// The failure with which its reply is to end.
    pub(in crate::plugin) failure: Option<Failure>,
    pub(in crate::plugin) progress: Arc<Progress>,
    /// Its subscription to topics.
    pub(in crate::plugin) subscriber: Option<Subscriber>,
}

impl Streaming {
    /// Makes the state of a stream that begins now, whose plugin's timeout is `patience`.
    pub(in crate::plugin) fn begun(patience: Duration) -> Self {
        Self { failure: None, progress: Arc::new(Progress::new(patience)), subscriber: None }
    }
}

/// Returns the bytes that a guest may hand to the host at once, by a host function or as its result: all that
/// a store takes at once, or its reply. Each use has its own bound; this one keeps the host from copying
/// without end before it can check.
pub(in crate::plugin) fn max_piece_bytes(max_reply_bytes: usize) -> usize {
    MAX_BYTES_PER_CALL.max(max_reply_bytes).saturating_add(PIECE_SLACK_BYTES)
}

/// Allowance for what surrounds that: offsets of texts in a list, the name of a store, the words of a
/// failure.
const PIECE_SLACK_BYTES: usize = 64 << 10;
