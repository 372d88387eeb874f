//! Instances that stay entered: `worker.run` takes one call after the other from `lictor:plugin/queue`.
//!
//! Entering a component costs several times what a small command takes: a stack, lifting and lowering of
//! arguments and results by calls into the guest, the way in and out. A warm instance whose plugin exports
//! `worker` is entered once instead. While it is idle its stack is suspended in the host's function
//! `queue.next`, where its next calls resume it. Calls that are there already are handed over together, and
//! each costs one call of `queue.reply`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Instance;
use crate::plugin::call::Call;
use crate::plugin::host::call_queue::{CallQueue, GuestReply};

/// An instance that stays entered.
pub(super) struct Worker {
    queue: Arc<CallQueue>,
    working: Pin<Box<dyn Future<Output = Exited> + Send>>,
    /// Set if the guest exited after it had answered every call that it began.
    exited: Option<Exited>,
}

/// An instance whose guest returned from `worker.run`, or trapped in it: it should stay there.
pub(super) struct Exited {
    pub(super) instance: Instance,
    pub(super) error: wasmtime::Error,
}

impl Worker {
    /// Takes `instance`, which is entered at its first call.
    pub(super) fn new(mut instance: Instance) -> Self {
        let queue = Arc::new(CallQueue::default());
        let of_instance = Arc::clone(&queue);
        let working = Box::pin(async move {
            let error = instance.work(of_instance).await;
            Exited { instance, error }
        });
        Self { queue, working, exited: None }
    }

    /// Returns true if it is not to be kept for further calls.
    pub(super) fn is_worn(&self) -> bool {
        self.queue.is_worn()
    }

    /// Returns the instance and the error of a guest that exited after its last reply.
    pub(super) fn exited(&self) -> Option<&Exited> {
        self.exited.as_ref()
    }

    /// Runs `call`. After an error, or if the future is dropped before its end, the worker can't be used
    /// again.
    pub(super) async fn handle(&mut self, call: &Arc<Call>) -> Result<GuestReply, Exited> {
        self.queue.push(std::slice::from_ref(call), None);
        self.finish().await
    }

    /// Runs the call that has begun to its end. Its answer stands even if the guest exits after it.
    pub(super) async fn finish(&mut self) -> Result<GuestReply, Exited> {
        poll_fn(|cx| match self.working.as_mut().poll(cx) {
            Poll::Ready(exited) => Poll::Ready(match self.queue.pop_answer() {
                Some(answer) => {
                    self.exited = Some(exited);
                    Ok(answer)
                }
                None => Err(exited),
            }),
            Poll::Pending => self.queue.pop_answer().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
        })
        .await
    }

    /// Runs those of `calls` that end at once, one after the other, and begins none after `until`. Each
    /// answer is handed to `answered`. Returns true if the call after those goes on; those behind it have not
    /// begun.
    ///
    /// # Errors
    ///
    /// If the guest exited in the call after those that were answered.
    pub(super) fn poll_all(
        &mut self,
        calls: &[Arc<Call>],
        until: Instant,
        answered: impl FnMut(GuestReply),
        cx: &mut Context<'_>,
    ) -> Result<bool, Exited> {
        self.queue.push(calls, Some(until));
        let polled = self.working.as_mut().poll(cx);
        let goes_on = self.queue.take_answers(calls.len(), answered);
        match polled {
            Poll::Ready(exited) if goes_on => Err(exited),
            Poll::Ready(exited) => {
                self.exited = Some(exited);
                Ok(false)
            }
            Poll::Pending => Ok(goes_on),
        }
    }
}
