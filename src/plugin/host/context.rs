//! The host's state of an instance: the call that it is at, what that may use, and the calls that follow.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, reported, too_large};
use super::base::Base;
use super::granted::Granted;
use super::handles::Handles;
use super::http::Http;
use super::stdio::{CallLabel, PluginLog, Printer};
use super::topics::Subscriber;
use super::volume::{Volume, VolumeSpent};
use crate::plugin::call::{Call, reply_bytes};
use crate::plugin::cpu::hint::{CpuHint, FirstTick};
use crate::plugin::memory::limiter::MemoryLimiter;
use crate::plugin::stream::progress::Progress;
use crate::state::MAX_BYTES_PER_CALL;
use crate::sync::locked;
use crate::telemetry::traces::Span;
use crate::wire::{CommandError, Reply};

/// Bytes of untaken replies at which no further call of a queue is begun.
const MAX_REPLIES_BYTES: usize = 64 << 10;

/// Replies between two readings of the clock.
const REPLIES_BETWEEN_READINGS: usize = 8;

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
    pub(in crate::plugin) queue: Option<SharedQueue>,
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

    /// Takes one operation of the current call that carries `bytes`, and begins its span if the call is
    /// traced.
    ///
    /// # Errors
    ///
    /// If the call has used up its volume.
    pub(in crate::plugin) fn operation(
        &self,
        name: &'static str,
        bytes: usize,
    ) -> Result<Option<Span>, VolumeSpent> {
        self.volume.operation(bytes)?;
        Ok(self.call.as_ref().and_then(|call| call.span(name)))
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

    /// Ends the call that has answered, and cuts off what it still had in progress; returns its reply.
    ///
    /// # Errors
    ///
    /// If it asked for more of the host than it may.
    pub(in crate::plugin) fn end(&mut self, answer: Answer) -> wasmtime::Result<Reply> {
        self.note_memory();
        self.volume.check()?;
        self.handles.charge_rest(&mut self.memory)?;
        self.tell_refusal();
        let call = self.call.take();
        self.http = None;
        self.printer = None;
        if let Some(base) = &self.base {
            base.begin(None);
        }
        Ok(match (answer, call) {
            (Ok(reply), Some(call)) if reply.len() > self.max_reply_bytes => {
                Err(too_large(self.log.plugin(), &call, self.max_reply_bytes))
            }
            (answer, _) => answer.map_err(reported),
        })
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
    pub(in crate::plugin) failure: Option<CommandError>,
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

/// The calls of an instance that stays entered, which takes them in blocks, and its replies.
#[derive(Default)]
pub(in crate::plugin) struct CallQueue {
    /// Calls that have not begun.
    calls: VecDeque<Arc<Call>>,
    /// Set once the guest has them in its block.
    are_handed_out: bool,
    replies: Vec<Reply>,
    replies_bytes: usize,
    /// Time after which no further call is begun; `None` if there is no such time.
    until: Option<Instant>,
    /// Set if no further call is begun until others are pushed.
    is_closed: bool,
    /// Set while the guest waits for a block.
    is_awaited: bool,
    /// Set if the instance holds more than an idle one may.
    is_worn: bool,
}

/// A queue between the guest, whose poll borrows its host's state, and the instance that polls it.
pub(in crate::plugin) type SharedQueue = Arc<Mutex<CallQueue>>;

impl CallQueue {
    /// Pushes `calls`, of which none is begun after `until`.
    pub(in crate::plugin) fn push(&mut self, calls: &[Arc<Call>], until: Option<Instant>) {
        self.calls.extend(calls.iter().cloned());
        (self.are_handed_out, self.until, self.is_closed) = (false, until, false);
    }

    /// Waits for calls; returns a block of them, and the first. Pushing calls wakes nobody; the pusher polls
    /// the instance itself.
    pub(super) async fn next_block(queue: &Mutex<Self>) -> (Vec<u8>, Arc<Call>) {
        poll_fn(|_| {
            let mut queue = locked(queue);
            queue.is_awaited = queue.is_closed || queue.calls.is_empty();
            if queue.is_awaited {
                return Poll::Pending;
            }
            let block = block(&queue.calls);
            let Some(call) = queue.calls.pop_front() else { return Poll::Pending };
            queue.are_handed_out = true;
            Poll::Ready((block, call))
        })
        .await
    }

    /// Adds the reply to the call that has begun, and returns the next one of the guest's block if there is
    /// time for it. The clock is read only if the call saw its `first_tick`, and every few calls: reading it
    /// costs a small call a part of its time.
    pub(super) fn reply(&mut self, reply: Reply, first_tick: Option<FirstTick>) -> Option<Arc<Call>> {
        self.replies_bytes += reply_bytes(&reply);
        self.replies.push(reply);
        if self.calls.is_empty() || !self.are_handed_out {
            return None;
        }
        let reads_clock = first_tick.is_some() || self.replies.len().is_multiple_of(REPLIES_BETWEEN_READINGS);
        if self.replies_bytes >= MAX_REPLIES_BYTES || reads_clock && self.is_late() {
            self.is_closed = true;
            return None;
        }
        self.calls.pop_front()
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Takes the reply to a call that was pushed alone.
    pub(in crate::plugin) fn pop_reply(&mut self) -> Option<Reply> {
        self.replies_bytes = 0;
        self.replies.pop()
    }

    /// Moves the replies to the first of `pushed` calls to `replies`, and gives up those that have not begun.
    /// Returns true if the call after the replies goes on.
    pub(in crate::plugin) fn take_replies(&mut self, pushed: usize, replies: &mut Vec<Reply>) -> bool {
        let goes_on = self.replies.len() < pushed && !self.is_closed;
        self.calls.clear();
        (self.until, self.replies_bytes) = (None, 0);
        replies.append(&mut self.replies);
        goes_on
    }

    /// Marks that the instance is not kept for further calls.
    pub(super) fn wear_out(&mut self) {
        self.is_worn = true;
    }

    /// Returns true if the instance is not to be kept for further calls: it holds too much, or its guest does
    /// not wait for them. One that still does something else may trap before it takes the next.
    pub(in crate::plugin) fn is_worn(&self) -> bool {
        self.is_worn || !self.is_awaited
    }
}

/// Encodes the arguments of `calls`, as `queue` in `wit/` describes.
fn block(calls: &VecDeque<Arc<Call>>) -> Vec<u8> {
    let size = |call: &Call| 4 * (1 + call.request().arguments().len()) + call.request().text_bytes();
    let mut block = Vec::with_capacity(calls.iter().map(|call| size(call)).sum());
    for call in calls {
        let arguments = call.request().arguments();
        append(&mut block, arguments.len(), "");
        arguments.for_each(|argument| append(&mut block, argument.len(), argument));
    }
    block
}

fn append(block: &mut Vec<u8>, number: usize, text: &str) {
    // A head has a few kilobytes at most.
    block.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    block.extend_from_slice(text.as_bytes());
}
