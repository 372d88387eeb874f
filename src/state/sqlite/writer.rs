//! The one thread that writes.
//!
//! Writes come through a bounded queue. What waits there is joined into one transaction, then it is committed, and only
//! then is any of them answered. One that a rule refuses leaves the others alone, since it has changed nothing (`rules`). A
//! commit is a wait for the disk, and whatever comes meanwhile makes up the next group: the more callers, the larger the
//! groups.
//!
//! It knows tasks, not what they do: no key and no rule.

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

/// The writes that wait, in turns of [`TURN_BYTES`]: each takes one, and one more for each such part of its size. So at
/// most so many wait, and what waits is at most twice [`MAX_BYTES_PER_CALL`] large.
const TURNS: usize = 2 * MAX_BYTES_PER_CALL / TURN_BYTES;
const TURN_BYTES: usize = 8 << 10;

/// The most turns in one transaction: what bounds how long the first of a group waits for the last. A larger
/// write than that is a group of its own.
const GROUP_TURNS: usize = 512;

/// How often expired rows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// While writes come and there is more to sweep: how often.
const SWEEP_EVERY_WHEN_BUSY: Duration = Duration::from_millis(50);

/// The way to the thread.
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
    /// Starts the thread, which alone writes by `connection`, and for whose writes `readers` make way.
    pub(super) fn start(
        connection: Connection,
        readers: Arc<Readers>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StateError> {
        // One more than there are turns, so that a close always fits.
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

    /// Has `work` done in a transaction, and answers when it is on the disk. `work` may be run again if its first
    /// transaction came to nothing.
    pub(super) fn submit<T, F>(
        &self,
        bytes: usize,
        work: F,
    ) -> impl Future<Output = Result<T, StateError>> + Send
    where
        T: Send + 'static,
        F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let turns = (1 + bytes / TURN_BYTES).min(TURNS);
        async move {
            let wanted = u32::try_from(turns).unwrap_or(u32::MAX);
            let turns_taken = Arc::clone(&self.turns).acquire_many_owned(wanted).await;
            let held = turns_taken.map_err(|_| closed())?;
            let (to, answer) = oneshot::channel();
            let runtime = Handle::try_current().ok();
            self.send(Message::Write(Box::new(Typed { work, done: None, to, turns, runtime, _held: held })))?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    /// Has what waits carried out, and takes no more.
    pub(super) async fn close(&self) -> Result<(), StateError> {
        self.turns.close();
        let (to, drained) = oneshot::channel();
        // If it can't be sent, the thread has ended, and nothing waits.
        if self.send(Message::Close(to)).is_ok() {
            drained.await.ok();
        }
        self.queue().take();
        Ok(())
    }

    /// Has what waits carried out and the thread end.
    pub(super) fn join(&self) {
        self.turns.close();
        self.queue().take();
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // It ends when the queue is empty and has no sender. If it panicked, the hook has told.
            thread.join().ok();
        }
    }

    fn send(&self, message: Message) -> Result<(), StateError> {
        // The turns bound what is in the queue, so that it is never full here.
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

/// One write, whatever its answer is.
trait Task: Send {
    /// How many turns it took.
    fn turns(&self) -> usize;
    /// Where its caller waits.
    fn runtime(&self) -> Option<&Handle>;
    /// Whether its caller has gone away, so that it need not be begun.
    fn is_given_up(&self) -> bool;
    /// Does it, or notes why it was refused. After an error nothing is known about the transaction, and it must not be
    /// committed.
    fn run(&mut self, group: &mut Group<'_>) -> rusqlite::Result<()>;
    /// Answers with what [`Task::run`] gave, or with the error that the whole group had.
    fn answer(self: Box<Self>, group: Result<(), StateError>);
}

struct Typed<T, F> {
    work: F,
    done: Option<Result<T, StateError>>,
    to: oneshot::Sender<Result<T, StateError>>,
    turns: usize,
    runtime: Option<Handle>,
    /// Given back when the write is answered.
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
        self.done = Some(match (self.work)(group) {
            Ok(value) => Ok(value),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Broken(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, group: Result<(), StateError>) {
        let answer = match group {
            Ok(()) => self.done.unwrap_or_else(|| Err(stopped())),
            Err(error) => Err(error),
        };
        // Nobody listens if the caller has gone away since.
        self.to.send(answer).ok();
    }
}

/// Writes that are on the disk and not answered. To drop it answers them, so that none is forgotten.
struct Committed(Vec<Box<dyn Task>>);

impl Committed {
    /// Answers from one of the runtime's threads where there are several: an answer from here wakes a thread for itself,
    /// which then pushes this one aside; from there, all of them only go into a queue.
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

/// What the thread has.
struct Thread {
    connection: Connection,
    readers: Arc<Readers>,
    clock: Arc<dyn Clock>,
    waiting: Receiver<Message>,
    next_sweep: Instant,
    /// Writes in the last group.
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
            let is_idle = first.is_err();
            match first {
                Ok(Message::Write(task)) => put_off = self.write_group(task),
                // The queue keeps its order, so that all that was sent before this has been committed.
                Ok(Message::Close(to)) => drop(to.send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= self.next_sweep {
                self.sweep(is_idle);
            }
        }
    }

    /// Writes `first` and what waits behind it, and gives back what did not fit.
    ///
    /// Where several write at once, those of the last group that were answered are about to write again. They are let do so
    /// first, as a commit takes as long for many as for one (PostgreSQL's `commit_siblings` is the same thought).
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

    /// Adds what waits to a group of so many turns; gives what came and does not belong to it.
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
            // One may ask for more room than there is while another makes some.
            Err(error) if is_full(&error) && tasks.len() > 1 => {
                tasks.into_iter().for_each(|task| self.commit_and_answer(vec![task]));
            }
            Err(error) => {
                let error = in_words(&error);
                tasks.into_iter().for_each(|task| task.answer(Err(error.clone())));
            }
        }
    }

    /// All of `tasks` in one transaction, or none.
    fn commit(&mut self, tasks: &mut [Box<dyn Task>]) -> rusqlite::Result<()> {
        let _writing = self.readers.writing();
        let mut group = Group::begin(&self.connection, self.clock.now_ms())?;
        // Looked at here, when the transaction may have had to wait for its turn.
        for task in tasks.iter_mut().filter(|task| !task.is_given_up()) {
            task.run(&mut group)?;
        }
        group.commit()
    }

    /// One batch of what has expired. If it fails, so will the next write, which can tell somebody.
    fn sweep(&mut self, is_idle: bool) {
        let now_ms = self.clock.now_ms();
        let writing = self.readers.writing();
        let batch = Group::begin(&self.connection, now_ms).and_then(|mut group| {
            let swept = group.sweep()?;
            group.commit().map(|()| swept)
        });
        drop(writing);
        let is_more = batch.is_ok_and(|swept| swept >= SWEPT_ROWS as u64);
        let pause = match (is_more, is_idle) {
            (false, _) => SWEEP_EVERY,
            (true, false) => SWEEP_EVERY_WHEN_BUSY,
            (true, true) => Duration::ZERO,
        };
        self.next_sweep = Instant::now() + pause;
    }
}
