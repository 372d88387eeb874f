//! The requests of one connection that are in flight: in the batch that is handed over next, running as
//! tasks, or waiting.
//!
//! Framed requests run side by side; plain ones wait for each other in the order in which they came. Requests
//! of either kind wait if they were read and the connection's time was up before they could begin. The caller
//! bounds all of them: it stops reading at some [`InFlight::len`] and [`InFlight::held_bytes`]. The tasks
//! belong to the connection, and are stopped and joined with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinSet};

use super::reply_budget::{Completed, ReplyBudget};
use super::running::{Finished, Running, StopReason, Work};
use crate::plugin::{Call, Ended, Exchange, Parts, Pending, Plugin};
use crate::route::Routes;
use crate::server::close_reason::CloseReason;
use crate::server::refusal::Refusal;
use crate::telemetry::LASTING;
use crate::wire::{Code, CommandError, Reply, Request, Sequence};

/// Maximum calls of a batch. The saving is per batch, so larger ones gain little; and if one of them goes on,
/// those behind it are prepared anew.
const MAX_BATCH_CALLS: usize = 32;

/// The requests in flight.
#[derive(Default)]
pub(in crate::server) struct InFlight {
    tasks: JoinSet<Completed>,
    /// For completed replies; made for the first command that goes on.
    budget: Option<ReplyBudget>,
    running: Vec<Running>,
    waiting: VecDeque<Waiting>,
    batch: Batch,
    /// Memory that the requests hold, without the batch.
    held_bytes: usize,
    /// Index of the running request that is asked next for a part.
    next_part_of: usize,
}

/// A request that has not begun.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) exchange: Exchange,
    /// The reason not to run it, if there is one; its client is told in order.
    pub(super) refusal: Option<Refusal>,
}

/// Calls of one plugin that were read and have not begun, in the order in which they came. The executor is
/// handed all of them together.
#[derive(Default)]
struct Batch {
    plugin: Option<Arc<Plugin>>,
    calls: Vec<Arc<Call>>,
    held_bytes: usize,
}

impl InFlight {
    /// Number of requests in flight.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.waiting.len() + self.batch.calls.len()
    }

    /// Memory that the requests in flight hold, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes + self.batch.held_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.batch.calls.is_empty()
    }

    /// Returns true if any request is running.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Returns true if a plain request that comes now has to wait for those before it.
    pub(super) fn plain_waits(&self) -> bool {
        !self.waiting.is_empty() || self.plain_is_running()
    }

    fn plain_is_running(&self) -> bool {
        self.running.iter().any(|running| running.work.sequence().is_none())
    }

    /// Returns true if a request with this `sequence` is running.
    pub(super) fn has(&self, sequence: &Sequence) -> bool {
        self.running.iter().any(|running| running.work.sequence() == Some(sequence))
    }

    /// Returns true if no call is in the batch.
    pub(super) fn batch_is_empty(&self) -> bool {
        self.batch.calls.is_empty()
    }

    /// Returns true if a request, before permission, may join the batch: it has the same plugin, and is run
    /// like those in the batch. Compares only names, so the request is not routed by that. Of two with the
    /// same `Sequence` the first is answered before the second begins.
    pub(super) fn batch_accepts(&self, exchange: &Exchange, routes: &Routes<Arc<Plugin>>) -> bool {
        let Batch { plugin, calls, .. } = &self.batch;
        let (Some(last), Some(of_batch)) = (calls.last(), plugin) else { return true };
        let command = exchange.request.command();
        exchange.request.idempotency_key().is_none()
            && calls.len() < MAX_BATCH_CALLS
            && (last.request().command() == command
                || routes.goes_to(command, |plugin| Arc::ptr_eq(of_batch, plugin)))
    }

    /// Adds a call of a request that the batch accepts.
    pub(super) fn push(&mut self, plugin: &Arc<Plugin>, call: Arc<Call>) {
        let batch = &mut self.batch;
        if batch.plugin.is_none() {
            batch.plugin = Some(Arc::clone(plugin));
        }
        batch.held_bytes += call.request().size_bytes();
        batch.calls.push(call);
    }

    /// The calls of the batch and their plugin; `None` if it is empty.
    pub(super) fn batch(&self) -> Option<(&Arc<Plugin>, &[Arc<Call>])> {
        Some((self.batch.plugin.as_ref()?, &self.batch.calls))
    }

    /// Takes out the calls of the batch.
    pub(super) fn take_batch(&mut self) -> Vec<Arc<Call>> {
        std::mem::take(&mut self.batch).calls
    }

    /// Takes back the list of the calls, which is empty, for its memory.
    pub(super) fn reuse(&mut self, calls: Vec<Arc<Call>>) {
        self.batch.calls = calls;
    }

    /// Queues a request, behind all others that wait.
    pub(super) fn enqueue(&mut self, waiting: Waiting) {
        self.held_bytes += waiting.exchange.request.size_bytes();
        self.waiting.push_back(waiting);
    }

    /// Queues a request, before all others that wait.
    pub(super) fn enqueue_first(&mut self, exchange: Exchange) {
        self.held_bytes += exchange.request.size_bytes();
        self.waiting.push_front(Waiting { exchange, refusal: None });
    }

    /// Returns true if the next request that waits may begin.
    pub(super) fn has_next(&self) -> bool {
        let next = self.waiting.front();
        next.is_some_and(|next| next.exchange.request.sequence().is_some() || !self.plain_is_running())
    }

    /// Takes out the next request, if it may begin.
    pub(super) fn take_next(&mut self) -> Option<Waiting> {
        if !self.has_next() {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.held_bytes -= waiting.exchange.request.size_bytes();
        Some(waiting)
    }

    /// Refuses the requests that wait, since memory is short, and frees their bodies; they are answered in
    /// order.
    pub(super) fn refuse_waiting(&mut self) {
        for Waiting { exchange, refusal } in &mut self.waiting {
            refusal.get_or_insert(Refusal::MemoryIsShort);
            self.held_bytes -= exchange.request.body().len();
            exchange.request.drop_body();
        }
    }

    /// Gives up the requests that wait.
    pub(super) fn forget_waiting(&mut self) -> Vec<Exchange> {
        let forgotten: Vec<_> = self.waiting.drain(..).map(|waiting| waiting.exchange).collect();
        self.held_bytes -= forgotten.iter().map(|exchange| exchange.request.size_bytes()).sum::<usize>();
        forgotten
    }

    /// Runs a call that did not end at once as a task. If its reply is a stream, it comes in `parts`.
    pub(super) fn run(&mut self, call: Arc<Call>, pending: Pending, parts: Option<Parts>) {
        let budget = self.budget();
        // The parts before its end may be buffered together with its reply.
        let beside = if parts.is_some() { Parts::MAX_BYTES } else { 0 };
        let task = async move {
            let Ended { reply, held } = pending.await;
            budget.hold(reply, beside, held).await
        };
        self.spawn(Work::Plugin(call), parts, task);
    }

    /// Runs a call by the task that `run` makes, which holds the reply in the budget itself.
    pub(super) fn run_by<F>(&mut self, call: Arc<Call>, run: impl FnOnce(ReplyBudget) -> F)
    where
        F: Future<Output = Completed> + Send + 'static,
    {
        let task = run(self.budget());
        self.spawn(Work::Plugin(call), None, task);
    }

    /// Runs a built-in as a task. If its reply is a stream, it comes in `parts`.
    pub(super) fn run_built_in(
        &mut self,
        exchange: Exchange,
        parts: Option<Parts>,
        command: impl Future<Output = Reply> + Send + 'static,
    ) {
        let budget = self.budget();
        let beside = if parts.is_some() { Parts::MAX_BYTES } else { 0 };
        let task = async move { budget.hold(command.await, beside, ()).await };
        self.spawn(Work::BuiltIn(exchange), parts, task);
    }

    fn budget(&mut self) -> ReplyBudget {
        self.budget.get_or_insert_default().clone()
    }

    fn spawn(
        &mut self,
        work: Work,
        parts: Option<Parts>,
        command: impl Future<Output = Completed> + Send + 'static,
    ) {
        self.held_bytes += work.held_bytes();
        let abort = self.tasks.spawn(command);
        let (task, stopped_for) = (abort.id(), StopReason::Words("Cancelled"));
        self.running.push(Running { task, abort, work, parts, sent: 0, completed: None, stopped_for });
    }

    /// Stops the request with this `sequence`; it is then answered as cancelled. Returns true if there is
    /// one.
    pub(in crate::server) fn cancel(&mut self, sequence: &Sequence) -> bool {
        let of_sequence = self.running.iter_mut().find(|running| running.work.sequence() == Some(sequence));
        of_sequence.map(|running| running.stop(StopReason::Words("Cancelled"))).is_some()
    }

    /// Stops the requests that are not `allowed`; they are answered as cancelled, for the reason in
    /// `words`.
    pub(super) fn stop_all_but(&mut self, allowed: impl Fn(&Request) -> bool, words: &'static str) {
        let running = self.running.iter_mut();
        let stopped = running.filter(|running| !allowed(&running.work.exchange().request));
        stopped.for_each(|running| running.stop(StopReason::Words(words)));
    }

    /// Stops the streams, which would go on for as long as their client likes, now that it can no longer
    /// cancel them.
    pub(super) fn stop_streams(&mut self, reason: CloseReason) {
        for running in self.running.iter_mut().filter(|running| running.parts.is_some()) {
            // One that is stopped already has its reason.
            if !running.abort.is_finished() {
                running.stop(StopReason::ReadingEnded(reason));
            }
        }
    }

    /// Returns the next part of a stream, round-robin. `Pending` also if none runs; a caller that
    /// starts one polls again.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<(&Sequence, Vec<u8>)> {
        let count = self.running.len();
        let found = (self.next_part_of..self.next_part_of + count).find_map(|index| {
            let index = index % count;
            let running = &mut self.running[index];
            match running.parts.as_mut()?.poll_next(cx) {
                Poll::Ready(Some(part)) => Some((index, part)),
                Poll::Ready(None) => {
                    running.parts = None;
                    None
                }
                Poll::Pending => None,
            }
        });
        let Some((index, part)) = found else { return Poll::Pending };
        self.next_part_of = index + 1;
        let running = &mut self.running[index];
        running.sent += part.len();
        // A request without a sequence is refused before it streams.
        running.work.sequence().map_or(Poll::Pending, |sequence| Poll::Ready((sequence, part)))
    }

    /// Returns the next request to end; a stream ends once its parts are taken. `Pending` also if none runs;
    /// a caller that starts one polls again.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        if self.running.is_empty() {
            return Poll::Pending;
        }
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) {
            let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
            let Some(running) = self.running.iter_mut().find(|running| running.task == task) else {
                continue;
            };
            running.completed = Some(match ended {
                Ok((_, completed)) => completed,
                Err(error) if error.is_cancelled() => Completed::instead(running.aborted()),
                Err(error) => Completed::instead(panicked(&error)),
            });
            if running.parts.is_none() {
                break;
            }
        }
        let ended = |running: &Running| running.parts.is_none() && running.completed.is_some();
        let Some(index) = self.running.iter().position(ended) else { return Poll::Pending };
        let Running { work, sent, completed, .. } = self.running.swap_remove(index);
        let Some(Completed { reply, .. }) = completed else { return Poll::Pending };
        self.held_bytes -= work.held_bytes();
        if self.running.is_empty() {
            self.budget = None;
        }
        Poll::Ready(Finished { work, sent, reply })
    }

    /// Stops all commands, waits for their ends, and returns what ran; `words` give the reason.
    pub(super) async fn stop(&mut self, words: &'static str) -> Vec<Finished> {
        self.tasks.shutdown().await;
        let stopped = self.running.drain(..).map(|running| {
            let reply = Err(running.stopped(words));
            Finished { work: running.work, sent: running.sent, reply }
        });
        stopped.collect()
    }
}

fn panicked(error: &JoinError) -> CommandError {
    tracing::error!(name: LASTING, target: "lictor::command", %error, "a command's task panicked");
    CommandError::unknown(Code::Internal, "The server failed")
}

/// Takes back the exchange of a call that was handed over and has not begun. The plugin gives such calls up
/// before it hands over the others' replies; one that it still held could begin later, so its request is not
/// run a second time.
///
/// # Errors
///
/// The call, if something still holds it.
pub(super) fn take_back(call: Arc<Call>) -> Result<Exchange, Arc<Call>> {
    Call::into_exchange(call).inspect_err(|call| {
        let request = call.id();
        tracing::error!(name: LASTING, target: "lictor::command", %request, "a call was not given back");
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::identity::{Roster, Thumbprint, authenticate};
    use crate::telemetry::{ConnectionId, RequestId};
    use crate::wire::Request;

    fn call() -> Arc<Call> {
        let certificate = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap().cert;
        let thumbprint = Thumbprint::sha256_of(certificate.der());
        let roster: Roster = [(thumbprint, Arc::from("client"))].into_iter().collect();
        let caller = authenticate(&[certificate.der().clone()], &roster, SystemTime::now()).unwrap();
        let request = Request::composed(&["echo".to_owned(), "a".to_owned()], Bytes::new()).unwrap();
        let id = RequestId { connection: ConnectionId(1), number: 7 };
        let arrived = Instant::now();
        Arc::new(Call::new(Exchange::new(id, arrived, request), caller, arrived))
    }

    #[test]
    fn a_call_that_was_not_begun_is_its_exchange_again() {
        let call = call();
        let (id, arrived) = (call.id(), call.exchange().arrived);
        let exchange = take_back(call).unwrap();
        assert_eq!((exchange.id, exchange.arrived), (id, arrived));
        assert_eq!(exchange.request.arguments().collect::<Vec<_>>(), ["echo", "a"]);
    }

    #[test]
    fn a_call_that_the_plugin_still_holds_is_not_taken_back() {
        let call = call();
        let _held = Arc::clone(&call);
        assert_eq!(take_back(call).unwrap_err().id().number, 7);
    }
}
