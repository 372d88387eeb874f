//! The requests of one connection that are under way.
//!
//! Framed requests run side by side; plain ones wait for each other in the order in which they came. Of either kind those
//! wait that were read and not begun in their connection's time. What is under way
//! is bounded by the caller, who stops reading at some [`Lanes::len`] and [`Lanes::held_bytes`], so a client can't make
//! this grow. Tasks here belong to the connection: they are stopped and joined with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;

use super::End;
use super::refusal::Refusal;
use super::room::{Given, Room};
use crate::plugin::{Call, Ended, Parts, Reply};
use crate::telemetry::{LASTING, RequestId};
use crate::wire::{Code, CommandError, Outcome, Request, Sequence};

/// What is kept of a request while its command runs.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: RequestId,
    pub(super) sequence: Option<Sequence>,
    pub(super) command: Arc<str>,
    /// Its arguments as they are logged, where they are.
    pub(super) arguments: Option<String>,
    pub(super) arrived: Instant,
    /// What is [held](held_bytes) for it.
    pub(super) bytes: usize,
    /// Bytes of its reply that were sent in parts.
    pub(super) sent: usize,
}

/// Bytes that are held for a request while its command runs: its own, and its arguments as they are logged.
pub(super) fn held_bytes(request: &Request, arguments: &Option<String>) -> usize {
    request.size_bytes() + arguments.as_ref().map_or(0, String::len)
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) id: RequestId,
    pub(super) at: Instant,
    /// The reason not to run it, if there is one; its client is told in its turn.
    pub(super) refusal: Option<Refusal>,
    pub(super) request: Request,
}

/// The requests under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    tasks: JoinSet<Given>,
    /// For answers that lie there; made at the first command that runs on.
    room: Option<Room>,
    running: Vec<Running>,
    waiting: VecDeque<Arrival>,
    held_bytes: usize,
    /// Which of those that run is the next to be asked for a part.
    next_part_of: usize,
}

#[derive(Debug)]
struct Running {
    task: task::Id,
    abort: AbortHandle,
    ticket: Ticket,
    /// The plugin's call; none where the server itself carries it out.
    call: Option<Arc<Call>>,
    /// Where its reply is a stream that goes on.
    parts: Option<Parts>,
    /// What its task gave, which comes after its parts.
    answer: Option<Given>,
    /// Why it was told to stop.
    stopped_for: StopReason,
}

impl Running {
    fn stopped(&self, words: &'static str) -> CommandError {
        let outcome = self.call.as_ref().map_or(Outcome::Unknown, |call| call.outcome_if_stopped());
        CommandError { code: Code::Cancelled, outcome, message: words.into() }
    }

    fn stop(&mut self, reason: StopReason) {
        self.stopped_for = reason;
        self.abort.abort();
    }

    fn aborted(&self) -> CommandError {
        match self.stopped_for {
            StopReason::Words(words) => self.stopped(words),
            StopReason::ReadingEnded(End::Stopping) => {
                CommandError { code: Code::ShuttingDown, ..self.stopped("The server is stopping") }
            }
            StopReason::ReadingEnded(end) => self.stopped(end.as_str()),
        }
    }
}

/// Why a request is stopped.
#[derive(Clone, Copy, Debug)]
enum StopReason {
    /// For what these say.
    Words(&'static str),
    /// It streams, and its client can't end that any more.
    ReadingEnded(End),
}

impl Lanes {
    /// Requests under way.
    pub(super) fn len(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Bytes of the requests under way.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Whether any request runs on.
    pub(super) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether a plain request that comes now has to wait for those before it.
    pub(super) fn plain_waits(&self) -> bool {
        !self.waiting.is_empty() || self.plain_is_running()
    }

    fn plain_is_running(&self) -> bool {
        self.running.iter().any(|running| running.ticket.sequence.is_none())
    }

    pub(super) fn is_in_flight(&self, sequence: &Sequence) -> bool {
        self.running.iter().any(|running| running.ticket.sequence.as_ref() == Some(sequence))
    }

    /// Keeps a request until its turn, behind all others that wait.
    pub(super) fn wait(&mut self, arrival: Arrival) {
        self.held_bytes += arrival.request.size_bytes();
        self.waiting.push_back(arrival);
    }

    /// Keeps a request until its turn, before all others that wait.
    pub(super) fn wait_first(&mut self, arrival: Arrival) {
        self.held_bytes += arrival.request.size_bytes();
        self.waiting.push_front(arrival);
    }

    /// Whether a request waits whose turn it is.
    pub(super) fn has_next(&self) -> bool {
        let next = self.waiting.front();
        next.is_some_and(|next| next.request.sequence().is_some() || !self.plain_is_running())
    }

    /// Takes out the request whose turn it is.
    pub(super) fn take_next(&mut self) -> Option<Arrival> {
        if !self.has_next() {
            return None;
        }
        let arrival = self.waiting.pop_front()?;
        self.held_bytes -= arrival.request.size_bytes();
        Some(arrival)
    }

    /// Refuses those that wait, as memory is short, and frees their bodies; their clients are told in their turn.
    pub(super) fn refuse_waiting(&mut self) {
        for Arrival { refusal, request, .. } in &mut self.waiting {
            refusal.get_or_insert(Refusal::MemoryIsShort);
            self.held_bytes -= request.body().len();
            request.drop_body();
        }
    }

    /// Gives up the requests whose turn has not come.
    pub(super) fn forget_waiting(&mut self) -> Vec<Arrival> {
        let forgotten: Vec<_> = self.waiting.drain(..).collect();
        self.held_bytes -= forgotten.iter().map(|arrival| arrival.request.size_bytes()).sum::<usize>();
        forgotten
    }

    /// Lets a command that did not end at once run on by itself; it carries out `call`. Its reply comes in `parts` where
    /// it is a stream.
    pub(super) fn run(
        &mut self,
        ticket: Ticket,
        call: Arc<Call>,
        command: impl Future<Output = Ended> + Send + 'static,
        parts: Option<Parts>,
    ) {
        let room = self.room();
        // What it has sent before its end may lie there with it.
        let beside = if parts.is_some() { Parts::MAX_BYTES } else { 0 };
        let command = async move {
            let Ended { answer, seat } = command.await;
            room.hold(answer, beside, seat).await
        };
        self.spawn(ticket, Some(call), parts, command);
    }

    /// The same for a command that is handed the room, to hold in it what it gives.
    pub(super) fn run_in_room<F>(&mut self, ticket: Ticket, call: Arc<Call>, command: impl FnOnce(Room) -> F)
    where
        F: Future<Output = Given> + Send + 'static,
    {
        let command = command(self.room());
        self.spawn(ticket, Some(call), None, command);
    }

    /// Lets a command of the server's own run on by itself.
    pub(super) fn run_own(&mut self, ticket: Ticket, command: impl Future<Output = Reply> + Send + 'static) {
        let room = self.room();
        self.spawn(ticket, None, None, async { room.hold(command.await, 0, ()).await });
    }

    fn room(&mut self) -> Room {
        self.room.get_or_insert_default().clone()
    }

    fn spawn(
        &mut self,
        ticket: Ticket,
        call: Option<Arc<Call>>,
        parts: Option<Parts>,
        command: impl Future<Output = Given> + Send + 'static,
    ) {
        self.held_bytes += ticket.bytes;
        let abort = self.tasks.spawn(command);
        let (task, answer, stopped_for) = (abort.id(), None, StopReason::Words("Cancelled"));
        self.running.push(Running { task, abort, ticket, call, parts, answer, stopped_for });
    }

    /// Stops the request with this `sequence`; it is then answered as cancelled. Tells whether there was one.
    pub(super) fn cancel(&mut self, sequence: &Sequence) -> bool {
        let is_it = |running: &&mut Running| running.ticket.sequence.as_ref() == Some(sequence);
        self.running
            .iter_mut()
            .find(is_it)
            .map(|running| running.stop(StopReason::Words("Cancelled")))
            .is_some()
    }

    /// Stops the requests whose commands are not `allowed`; each is answered as cancelled, for what `words` say.
    pub(super) fn stop_all_but(&mut self, allowed: impl Fn(&str) -> bool, words: &'static str) {
        let stopped = self.running.iter_mut().filter(|running| !allowed(&running.ticket.command));
        stopped.for_each(|running| running.stop(StopReason::Words(words)));
    }

    /// Stops the streams, which would go on for as long as their client likes, and it can't say any more that it does not;
    /// `end` is why nothing is read.
    pub(super) fn stop_streams(&mut self, end: End) {
        for running in self.running.iter_mut().filter(|running| running.parts.is_some()) {
            // One that is stopped already has its reason.
            if !running.abort.is_finished() {
                running.stop(StopReason::ReadingEnded(end));
            }
        }
    }

    /// The next part of a stream, each stream in its turn. `Pending` also while none runs; whoever starts one asks again.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<(&Sequence, Vec<u8>)> {
        let count = self.running.len();
        let found = (self.next_part_of..self.next_part_of + count).find_map(|place| {
            let place = place % count;
            let running = &mut self.running[place];
            match running.parts.as_mut()?.poll_next(cx) {
                Poll::Ready(Some(part)) => Some((place, part)),
                Poll::Ready(None) => {
                    running.parts = None;
                    None
                }
                Poll::Pending => None,
            }
        });
        let Some((place, part)) = found else { return Poll::Pending };
        self.next_part_of = place + 1;
        let ticket = &mut self.running[place].ticket;
        ticket.sent += part.len();
        // What has none is not let run as a stream.
        ticket.sequence.as_ref().map_or(Poll::Pending, |sequence| Poll::Ready((sequence, part)))
    }

    /// The next request to end, and its answer; of a stream, once its parts are taken. `Pending` also while none runs;
    /// whoever starts one asks again.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<(Ticket, Reply)> {
        if self.running.is_empty() {
            return Poll::Pending;
        }
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) {
            let task = ended.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
            let Some(running) = self.running.iter_mut().find(|running| running.task == task) else {
                continue;
            };
            running.answer = Some(match ended {
                Ok((_, given)) => given,
                Err(error) if error.is_cancelled() => Given::instead(running.aborted()),
                Err(error) => Given::instead(panicked(&error)),
            });
            if running.parts.is_none() {
                break;
            }
        }
        let ended = |running: &Running| running.parts.is_none() && running.answer.is_some();
        let Some(place) = self.running.iter().position(ended) else { return Poll::Pending };
        let running = self.running.swap_remove(place);
        let Some(given) = running.answer else { return Poll::Pending };
        self.held_bytes -= running.ticket.bytes;
        if self.running.is_empty() {
            self.room = None;
        }
        Poll::Ready((running.ticket, given.answer))
    }

    /// Stops all commands and waits for their ends; `words` say why. Gives what became of those that ran.
    pub(super) async fn stop(&mut self, words: &'static str) -> Vec<(Ticket, CommandError)> {
        self.tasks.shutdown().await;
        let stopped = self.running.drain(..).map(|running| {
            let error = running.stopped(words);
            (running.ticket, error)
        });
        stopped.collect()
    }
}

fn panicked(error: &JoinError) -> CommandError {
    tracing::error!(name: LASTING, target: "lictor::command", %error, "a command's task panicked");
    CommandError::unknown(Code::Internal, "The server failed")
}
