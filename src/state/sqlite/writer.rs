//! The one thread that writes.
//!
//! Writes arrive through a bounded queue. All that are queued are joined into one transaction, and answered
//! only after its commit. A write refused by a rule does not affect the others, since it has changed nothing
//! (`rules`). A commit waits for the disk, and writes that arrive meanwhile form the next group: the more
//! callers, the larger the groups.
//!
//! Knows tasks, not their content: no key and no rule.

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::fault::{Fault, in_words, is_full};
use super::group::{Group, SWEPT_ROWS};
use super::readers::Readers;
use crate::state::{Clock, MAX_BYTES_PER_CALL, StateError};
use crate::sync::locked;
use crate::telemetry::metrics::STATE;
use crate::telemetry::traces::{Context, Kind, Span};

/// The permits for queued writes, in units of [`TURN_BYTES`]: each write takes one, and one more for each
/// such part of its size. This bounds the number of queued writes, and their total size to twice
/// [`MAX_BYTES_PER_CALL`].
const TURNS: usize = 2 * MAX_BYTES_PER_CALL / TURN_BYTES;
const TURN_BYTES: usize = 8 << 10;

/// The most permits in one transaction: bounds how long the first write of a group waits for the last. A
/// larger write is a group of its own.
const GROUP_TURNS: usize = 512;

/// The interval between searches for expired rows.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The interval while writes arrive and more rows have expired.
const SWEEP_EVERY_WHEN_BUSY: Duration = Duration::from_millis(50);

/// The handle of the writer thread.
pub(super) struct Writer {
    turns: Arc<Semaphore>,
    queue: Mutex<Option<SyncSender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Write(Box<dyn Task>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread. It alone writes through `connection`, and makes `readers` release their snapshots.
    pub(super) fn start(
        connection: Connection,
        readers: Arc<Readers>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StateError> {
        // One more than the permits, so that a close always fits.
        let (queue, waiting) = sync_channel(TURNS + 1);
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || {
                let next_sweep = Instant::now();
                Thread { connection, readers, clock, waiting, next_sweep, last_group: 0 }.run()
            })
            .map_err(|error| StateError::unavailable(format!("no thread could be started: {error}")))?;
        Ok(Self {
            turns: Arc::new(Semaphore::new(TURNS)),
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `work` in a transaction, and answers once it is on the disk. `work` may run again if its first
    /// transaction failed.
    pub(super) fn submit<T, F>(
        &self,
        bytes: usize,
        work: F,
    ) -> impl Future<Output = Result<T, StateError>> + Send
    where
        T: Send + 'static,
        F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send + 'static,
    {
        self.submit_traced(bytes, None, work)
    }

    /// Like [`submit`](Self::submit); the commit is a span of `trace`.
    pub(super) fn submit_traced<T, F>(
        &self,
        bytes: usize,
        trace: Option<Context>,
        work: F,
    ) -> impl Future<Output = Result<T, StateError>> + Send
    where
        T: Send + 'static,
        F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let turns = (1 + bytes / TURN_BYTES).min(TURNS);
        async move {
            let wanted = u32::try_from(turns).unwrap_or(u32::MAX);
            let asked = Instant::now();
            let turns_taken = Arc::clone(&self.turns).acquire_many_owned(wanted).await;
            let held = turns_taken.map_err(|_| closed())?;
            let (to, answer) = oneshot::channel();
            let runtime = Handle::try_current().ok();
            self.send(Message::Write(Box::new(Typed {
                work,
                done: None,
                to,
                turns,
                asked,
                runtime,
                trace,
                span: None,
                _held: held,
            })))?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// Carries out the queued writes, and accepts no more.
    pub(super) async fn close(&self) -> Result<(), StateError> {
        self.turns.close();
        let (to, drained) = oneshot::channel();
        // If the send fails, the thread has ended, and nothing is queued.
        if self.send(Message::Close(to)).is_ok() {
            drained.await.ok();
        }
        self.queue().take();
        Ok(())
    }

    /// Carries out the queued writes, and ends the thread.
    pub(super) fn join(&self) {
        self.turns.close();
        self.queue().take();
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // The thread ends when the queue is empty and has no sender. A panic was already reported by the
            // hook.
            thread.join().ok();
        }
    }

    fn send(&self, message: Message) -> Result<(), StateError> {
        // The permits bound the queue, so it is never full here.
        self.queue().as_ref().ok_or_else(closed)?.try_send(message).map_err(|_| stopped())
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Option<SyncSender<Message>>> {
        locked(&self.queue)
    }
}

fn closed() -> StateError {
    StateError::unavailable("the engine is closed")
}

fn stopped() -> StateError {
    StateError::unavailable("the thread that writes has stopped; restart the server")
}

/// A write, independent of its answer's type.
trait Task: Send {
    /// The number of permits it took.
    fn turns(&self) -> usize;
    /// The caller's runtime.
    fn runtime(&self) -> Option<&Handle>;
    /// Returns true if the caller no longer waits, so that the write need not begin.
    fn is_given_up(&self) -> bool;
    /// Carries out the write, or records its refusal. After an error the state of the transaction is unknown,
    /// and it must not be committed.
    fn run(&mut self, group: &mut Group<'_>) -> rusqlite::Result<()>;
    /// Answers with the result of [`Task::run`], or with the error of the whole group.
    fn answer(self: Box<Self>, group: Result<(), StateError>);
}

struct Typed<T, F> {
    work: F,
    done: Option<Result<T, StateError>>,
    to: oneshot::Sender<Result<T, StateError>>,
    turns: usize,
    asked: Instant,
    runtime: Option<Handle>,
    /// The span that the commit belongs to, if it is traced.
    trace: Option<Context>,
    /// The span of the commit, which ends with the answer.
    span: Option<Span>,
    /// Released when the write is answered.
    _held: OwnedSemaphorePermit,
}

impl<T, F> Task for Typed<T, F>
where
    T: Send,
    F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send,
{
    fn turns(&self) -> usize {
        self.turns
    }

    fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    fn is_given_up(&self) -> bool {
        self.to.is_closed()
    }

    fn run(&mut self, group: &mut Group<'_>) -> rusqlite::Result<()> {
        self.span = self.trace.as_ref().and_then(|trace| trace.span("state.commit", Kind::Internal));
        self.done = Some(match (self.work)(group) {
            Ok(value) => Ok(value),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Broken(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, group: Result<(), StateError>) {
        STATE.wrote(Some(self.asked.elapsed()));
        drop(self.span);
        let answer = match group {
            Ok(()) => self.done.unwrap_or_else(|| Err(stopped())),
            Err(error) => Err(error),
        };
        // The caller may have stopped waiting.
        self.to.send(answer).ok();
    }
}

/// Committed writes that are not answered yet. Answers them on drop, so that none is forgotten.
struct Committed(Vec<Box<dyn Task>>);

impl Committed {
    /// Answers from one of the runtime's threads if there are several writes: an answer from here wakes a
    /// worker each time, which then preempts this thread; from there, they all just enter a queue.
    fn hand_over(self) {
        let runtime = self.0.first().and_then(|task| task.runtime()).cloned();
        if let Some(runtime) = runtime.filter(|_| self.0.len() > 1) {
            runtime.spawn(async move { drop(self) });
        }
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|task| task.answer(Ok(())));
    }
}

/// The state of the thread.
struct Thread {
    connection: Connection,
    readers: Arc<Readers>,
    clock: Arc<dyn Clock>,
    waiting: Receiver<Message>,
    next_sweep: Instant,
    /// The number of writes in the last group.
    last_group: usize,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.readers.hold_nothing();
    }
}

impl Thread {
    fn run(mut self) {
        let mut put_off = None;
        loop {
            let first = match put_off.take() {
                Some(task) => Ok(Message::Write(task)),
                None => self.waiting.recv_timeout(self.next_sweep.saturating_duration_since(Instant::now())),
            };
            let between_sweeps = if first.is_ok() { SWEEP_EVERY_WHEN_BUSY } else { Duration::ZERO };
            match first {
                Ok(Message::Write(task)) => put_off = self.write_group(task),
                // The queue is ordered, so everything sent before this has been committed.
                Ok(Message::Close(to)) => drop(to.send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= self.next_sweep {
                self.sweep(between_sweeps);
            }
        }
    }

    /// Writes `first` and the writes queued behind it; returns a write that did not fit.
    ///
    /// With several concurrent writers, those whose writes were just answered are about to write again. They
    /// get the time to do so first, as a commit takes as long for many as for one (PostgreSQL's
    /// `commit_siblings` is the same idea).
    fn write_group(&mut self, first: Box<dyn Task>) -> Option<Box<dyn Task>> {
        let mut turns = first.turns();
        let mut tasks = vec![first];
        let mut behind = self.gather(&mut tasks, &mut turns);
        while behind.is_none() && self.last_group > tasks.len() {
            let before = tasks.len();
            std::thread::yield_now();
            behind = self.gather(&mut tasks, &mut turns);
            if tasks.len() == before {
                break;
            }
        }
        self.last_group = tasks.len();
        self.commit_and_answer(tasks);
        match behind? {
            Message::Write(task) => Some(task),
            Message::Close(to) => {
                to.send(()).ok();
                None
            }
        }
    }

    /// Adds queued writes to a group that holds `turns` permits; returns a message that does not belong to
    /// it.
    fn gather(&self, tasks: &mut Vec<Box<dyn Task>>, turns: &mut usize) -> Option<Message> {
        while let Ok(message) = self.waiting.try_recv() {
            match message {
                Message::Write(task) if *turns + task.turns() <= GROUP_TURNS => {
                    *turns += task.turns();
                    tasks.push(task);
                }
                behind => return Some(behind),
            }
        }
        None
    }

    fn commit_and_answer(&mut self, mut tasks: Vec<Box<dyn Task>>) {
        match self.commit(&mut tasks) {
            Ok(()) => Committed(tasks).hand_over(),
            // One write may need more room than there is, while another frees some.
            Err(error) if is_full(&error) && tasks.len() > 1 => {
                tasks.into_iter().for_each(|task| self.commit_and_answer(vec![task]));
            }
            Err(error) => {
                let error = in_words(&error);
                tasks.into_iter().for_each(|task| task.answer(Err(error.clone())));
            }
        }
    }

    /// Commits all of `tasks` in one transaction, or none.
    fn commit(&mut self, tasks: &mut [Box<dyn Task>]) -> rusqlite::Result<()> {
        let _writing = self.readers.writing();
        let mut group = Group::begin(&self.connection, self.clock.now_ms())?;
        // Checked here, since the transaction may have waited for its start.
        for task in tasks.iter_mut().filter(|task| !task.is_given_up()) {
            task.run(&mut group)?;
        }
        group.commit().inspect(|()| STATE.committed())
    }

    /// Sweeps one batch of expired rows; if there are more, the next is swept after `pause`. Ignores errors:
    /// the next write will fail too, and reports the error.
    fn sweep(&mut self, pause: Duration) {
        let now_ms = self.clock.now_ms();
        let writing = self.readers.writing();
        let batch = Group::begin(&self.connection, now_ms).and_then(|mut group| {
            let swept = group.sweep()?;
            group.commit().map(|()| swept)
        });
        drop(writing);
        let is_more = batch.is_ok_and(|swept| swept >= SWEPT_ROWS as u64);
        self.next_sweep = Instant::now() + if is_more { pause } else { SWEEP_EVERY };
    }
}
