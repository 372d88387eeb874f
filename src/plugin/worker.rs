//! Instances that stay entered: `worker.run` takes one call after the other from `lictor:plugin/queue`.
//!
//! To enter a component costs several times what a small command takes: a stack, the lifting and lowering of arguments
//! and results by calls into the guest, the way in and out. A warm instance whose plugin exports `worker` is entered once
//! instead. While it has nothing to do its stack is set aside in the host's function `queue.next`, and its next calls go
//! on there. Calls that are there already are handed over together, and each costs one call of `queue.reply`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::bindings::exports::lictor::plugin::commands::Failure;
use super::bounds::FirstTick;
use super::call::Call;
use super::instance::Instance;
use crate::sync::locked;

/// The answer of a plugin to a call.
pub(super) type Answer = Result<Vec<u8>, Failure>;

/// As much of `answer` as is kept until it is told: of a reply that is too large, enough to tell that it is.
pub(super) fn pared(answer: Answer, max_reply_bytes: usize) -> Answer {
    let mut reply = answer.map_err(pared_failure)?;
    if reply.len() > max_reply_bytes {
        reply.truncate(max_reply_bytes + 1);
        reply.shrink_to_fit();
    }
    Ok(reply)
}

/// Longest message and code of a failure that are kept until it is told, in bytes. No more of a message is ever shown,
/// and no known code is longer.
const MAX_FAILURE_BYTES: usize = 8 << 10;

/// Cuts `failure` to what is kept of it: a plugin may make it as large as all that it hands over in one piece.
pub(super) fn pared_failure(mut failure: Failure) -> Failure {
    for text in [&mut failure.code, &mut failure.message] {
        if text.len() > MAX_FAILURE_BYTES {
            text.truncate(text.floor_char_boundary(MAX_FAILURE_BYTES));
            text.shrink_to_fit();
        }
    }
    failure
}

/// Bytes that an answer holds.
fn size_bytes(answer: &Answer) -> usize {
    answer.as_ref().map_or_else(|failure| failure.code.len() + failure.message.len(), Vec::len)
}

/// Bytes of answers that lie on a desk, from which on no further call is begun before they are taken.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Answers between two looks at the clock.
const ANSWERS_BETWEEN_LOOKS: usize = 8;

/// Where the host lays down calls, and an instance their answers.
#[derive(Default)]
pub(super) struct Desk {
    papers: Mutex<Papers>,
    /// Whether the instance holds more than one that is idle may.
    is_worn: AtomicBool,
}

#[derive(Default)]
struct Papers {
    /// Those that have not begun.
    calls: VecDeque<Arc<Call>>,
    /// Whether the guest has them in its block.
    are_dealt: bool,
    answers: Vec<Answer>,
    answer_bytes: usize,
    /// When no further call is begun; none for those that may be begun at any time.
    until: Option<Instant>,
    /// Whether no further call is begun until others are laid down.
    is_closed: bool,
}

impl Desk {
    /// Lays down the answer of the call that has begun, and gives the next that the guest has at hand. Whether there is still
    /// time for that is asked where the call saw its `first_tick`, and every few calls: to look at a clock costs a
    /// small call a part of its time.
    pub(super) fn answer(&self, answer: Answer, first_tick: Option<FirstTick>) -> Option<Arc<Call>> {
        let mut papers = self.papers();
        papers.answer_bytes += size_bytes(&answer);
        papers.answers.push(answer);
        if papers.calls.is_empty() || !papers.are_dealt {
            return None;
        }
        if papers.answer_bytes >= MAX_ANSWER_BYTES
            || (first_tick.is_some() || papers.answers.len().is_multiple_of(ANSWERS_BETWEEN_LOOKS))
                && papers.is_late()
        {
            papers.is_closed = true;
            return None;
        }
        papers.calls.pop_front()
    }

    /// The instance is not to be kept for further calls than it has at hand.
    pub(super) fn wear_out(&self) {
        self.is_worn.store(true, Ordering::Relaxed);
    }

    /// Waits for calls, makes a block of them, and gives the first of them. Nobody is woken by their being laid down: who
    /// does it polls the instance.
    pub(super) async fn take(&self) -> (Vec<u8>, Arc<Call>) {
        poll_fn(|_| {
            let mut papers = self.papers();
            if papers.is_closed {
                return Poll::Pending;
            }
            let block = block(&papers.calls);
            let Some(call) = papers.calls.pop_front() else { return Poll::Pending };
            papers.are_dealt = true;
            Poll::Ready((block, call))
        })
        .await
    }

    fn papers(&self) -> MutexGuard<'_, Papers> {
        locked(&self.papers)
    }
}

/// The arguments of `calls`, as `queue` describes it.
fn block(calls: &VecDeque<Arc<Call>>) -> Vec<u8> {
    let size = |call: &Call| 4 * (1 + call.request().arguments().len()) + call.request().text_bytes();
    let mut block = Vec::with_capacity(calls.iter().map(|call| size(call)).sum());
    for call in calls {
        let arguments = call.request().arguments();
        push(&mut block, arguments.len(), "");
        arguments.for_each(|argument| push(&mut block, argument.len(), argument));
    }
    block
}

fn push(block: &mut Vec<u8>, number: usize, text: &str) {
    // A head has a few kilobytes at most.
    block.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    block.extend_from_slice(text.as_bytes());
}

/// An instance that stays entered.
pub(super) struct Worker {
    desk: Arc<Desk>,
    working: Pin<Box<dyn Future<Output = Left> + Send>>,
}

/// An instance that was left, which is not meant to be.
pub(super) struct Left {
    pub(super) instance: Instance,
    pub(super) error: wasmtime::Error,
}

impl Worker {
    /// `instance`, which is entered at its first call.
    pub(super) fn new(mut instance: Instance) -> Self {
        let desk = Arc::new(Desk::default());
        let at = Arc::clone(&desk);
        let working = Box::pin(async move {
            let error = instance.work(at).await;
            Left { instance, error }
        });
        Self { desk, working }
    }

    /// Whether it is not to be kept for further calls.
    pub(super) fn is_worn(&self) -> bool {
        self.desk.is_worn.load(Ordering::Relaxed)
    }

    /// Carries out `call`. After an error, or when the future is dropped before its end, the worker can't be used again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> Result<Answer, Left> {
        self.desk.papers().lay(std::slice::from_ref(call), None);
        self.finish().await
    }

    /// Carries out the call that has begun to its end.
    pub(super) async fn finish(&mut self) -> Result<Answer, Left> {
        poll_fn(|cx| match self.working.as_mut().poll(cx) {
            Poll::Ready(left) => Poll::Ready(Err(left)),
            Poll::Pending => {
                self.desk.papers().take_answer().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
        })
        .await
    }

    /// Carries out those of `calls` that end at once, one after the other, and begins none after `until`. Each answer is
    /// handed to `answered`. Gives whether the call after those goes on; what comes then has not begun.
    ///
    /// # Errors
    ///
    /// When the instance was left; the call after those that were answered broke off.
    pub(super) fn poll_all(
        &mut self,
        calls: &[Arc<Call>],
        until: Instant,
        answered: impl FnMut(Answer),
        cx: &mut Context<'_>,
    ) -> Result<bool, Left> {
        self.desk.papers().lay(calls, Some(until));
        let polled = self.working.as_mut().poll(cx);
        let mut papers = self.desk.papers();
        let goes_on = papers.answers.len() < calls.len() && !papers.is_closed;
        // Where the guest waits for something before it takes its first call, that is the one that goes on.
        let not_begun = if papers.are_dealt { 0 } else { 1 };
        papers.calls.truncate(not_begun);
        (papers.until, papers.answer_bytes) = (None, 0);
        papers.answers.drain(..).for_each(answered);
        match polled {
            Poll::Ready(left) => Err(left),
            Poll::Pending => Ok(goes_on),
        }
    }
}

impl Papers {
    fn lay(&mut self, calls: &[Arc<Call>], until: Option<Instant>) {
        self.calls.extend(calls.iter().cloned());
        (self.are_dealt, self.until, self.is_closed) = (false, until, false);
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn take_answer(&mut self) -> Option<Answer> {
        self.answer_bytes = 0;
        self.answers.pop()
    }
}
