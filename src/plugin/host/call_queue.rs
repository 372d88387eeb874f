//! The calls of an instance that stays entered: handed out in blocks, answered one by one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use tokio::time::Instant;

use crate::plugin::bindings::exports::lictor::plugin::commands::Failure;
use crate::plugin::call::Call;
use crate::plugin::cpu::hint::FirstTick;
use crate::sync::locked;

/// A plugin's reply to a call, before its limits and failures are mapped to a [`Reply`](crate::wire::Reply).
pub(in crate::plugin) type GuestReply = Result<Vec<u8>, Failure>;

/// Cuts `answer` to what is kept of it: of a reply that is too large, enough to know that it is.
pub(in crate::plugin) fn pared(answer: GuestReply, max_reply_bytes: usize) -> GuestReply {
    let mut reply = answer.map_err(pared_failure)?;
    if reply.len() > max_reply_bytes {
        reply.truncate(max_reply_bytes + 1);
        reply.shrink_to_fit();
    }
    Ok(reply)
}

/// Longest message and code of a failure that are kept until it is told, in bytes. No more of a message is
/// ever shown, and no known code is longer.
const MAX_FAILURE_BYTES: usize = 8 << 10;

/// Cuts `failure` to what is kept of it: a plugin may make it as large as all that it hands over in one
/// piece.
pub(in crate::plugin) fn pared_failure(mut failure: Failure) -> Failure {
    for text in [&mut failure.code, &mut failure.message] {
        if text.len() > MAX_FAILURE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_FAILURE_BYTES));
            text.shrink_to_fit();
        }
    }
    failure
}

/// Bytes that an answer holds.
fn size_bytes(answer: &GuestReply) -> usize {
    answer.as_ref().map_or_else(|failure| failure.code.len() + failure.message.len(), Vec::len)
}

/// Bytes of untaken answers at which no further call is begun.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Answers between two readings of the clock.
const ANSWERS_BETWEEN_READINGS: usize = 8;

/// The calls of an instance that stays entered, and its answers.
#[derive(Default)]
pub(in crate::plugin) struct CallQueue {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Calls that have not begun.
    calls: VecDeque<Arc<Call>>,
    /// Set once the guest has them in its block.
    are_handed_out: bool,
    answers: Vec<GuestReply>,
    answer_bytes: usize,
    /// Time after which no further call is begun; `None` if there is no such time.
    until: Option<Instant>,
    /// Set if no further call is begun until others are pushed.
    is_closed: bool,
    /// Set while the guest waits for a block.
    is_awaited: bool,
    /// Set if the instance holds more than an idle one may.
    is_worn: bool,
}

impl CallQueue {
    /// Adds the answer of the call that has begun, and returns the next one of the guest's block if there is
    /// time for it. The clock is read only if the call saw its `first_tick`, and every few calls: reading it
    /// costs a small call a part of its time.
    pub(in crate::plugin) fn answer(
        &self,
        answer: GuestReply,
        first_tick: Option<FirstTick>,
    ) -> Option<Arc<Call>> {
        let mut inner = self.inner();
        inner.answer_bytes += size_bytes(&answer);
        inner.answers.push(answer);
        if inner.calls.is_empty() || !inner.are_handed_out {
            return None;
        }
        if inner.answer_bytes >= MAX_ANSWER_BYTES
            || (first_tick.is_some() || inner.answers.len().is_multiple_of(ANSWERS_BETWEEN_READINGS))
                && inner.is_late()
        {
            inner.is_closed = true;
            return None;
        }
        inner.calls.pop_front()
    }

    /// Marks that the instance is not kept for further calls.
    pub(in crate::plugin) fn wear_out(&self) {
        self.inner().is_worn = true;
    }

    /// Waits for calls; returns a block of them, and the first. Pushing calls wakes nobody; the pusher polls
    /// the instance itself.
    pub(in crate::plugin) async fn next_block(&self) -> (Vec<u8>, Arc<Call>) {
        poll_fn(|_| {
            let mut inner = self.inner();
            inner.is_awaited = inner.is_closed || inner.calls.is_empty();
            if inner.is_awaited {
                return Poll::Pending;
            }
            let block = block(&inner.calls);
            let Some(call) = inner.calls.pop_front() else { return Poll::Pending };
            inner.are_handed_out = true;
            Poll::Ready((block, call))
        })
        .await
    }

    /// Pushes `calls`, of which none is begun after `until`.
    pub(in crate::plugin) fn push(&self, calls: &[Arc<Call>], until: Option<Instant>) {
        let mut inner = self.inner();
        inner.calls.extend(calls.iter().cloned());
        (inner.are_handed_out, inner.until, inner.is_closed) = (false, until, false);
    }

    /// Takes the answer of a call that was pushed alone.
    pub(in crate::plugin) fn pop_answer(&self) -> Option<GuestReply> {
        let mut inner = self.inner();
        inner.answer_bytes = 0;
        inner.answers.pop()
    }

    /// Takes the answers of the first of `pushed` calls, and gives up those that have not begun. Returns true
    /// if the call after the answers goes on.
    pub(in crate::plugin) fn take_answers(&self, pushed: usize, answered: impl FnMut(GuestReply)) -> bool {
        let mut inner = self.inner();
        let goes_on = inner.answers.len() < pushed && !inner.is_closed;
        inner.calls.clear();
        (inner.until, inner.answer_bytes) = (None, 0);
        inner.answers.drain(..).for_each(answered);
        goes_on
    }

    /// Returns true if the instance is not to be kept for further calls: it holds too much, or its guest does
    /// not wait for them. One that still does something else may trap before it takes the next.
    pub(in crate::plugin) fn is_worn(&self) -> bool {
        let inner = self.inner();
        inner.is_worn || !inner.is_awaited
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
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

impl Inner {
    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}
