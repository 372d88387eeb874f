//! Threads for calls that compute for longer than a tick.
//!
//! A thread of the runtime that computes polls no sockets, and the task in its next-task slot waits: tokio's
//! workers can't steal that one. With two calls that compute, on two processors, unrelated requests waited
//! for several ticks. On threads of their own such calls are scheduled by the system, which prefers a thread
//! that has just become ready to one that has computed for long.
//!
//! A call begins where its request was read, and most end there. One that does not becomes a task of the
//! runtime, which polls it by [`Offloaded`]. Once the call has computed for a tick it is queued for these
//! threads, each of which polls one call for a tick, first come first served. A call that waits for something
//! or is woken, by its deadline for instance, returns to its task.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use tokio::runtime::Handle;

use crate::sync::locked;

thread_local! {
    static POLLER: Cell<Poller> = const { Cell::new(Poller::Inline) };
    static YIELDED: Cell<bool> = const { Cell::new(false) };
}

/// The poller of a call on this thread, which decides where the call computes after it has yielded.
#[derive(Clone, Copy, PartialEq)]
enum Poller {
    /// Any other, such as the executor in a call's first poll: the call stays on this thread.
    Inline,
    /// The call's task: the call moves to a thread of the pool.
    Task,
    /// A thread of the pool: the call is queued once more.
    Pool,
}

/// Polls as `by`. The second value is true if the polled call yielded.
fn poll_as<T>(by: Poller, poll: impl FnOnce() -> T) -> (T, bool) {
    struct Restored(Poller);
    impl Drop for Restored {
        fn drop(&mut self) {
            POLLER.set(self.0);
        }
    }
    let _restored = Restored(POLLER.replace(by));
    YIELDED.set(false);
    let polled = poll();
    (polled, YIELDED.replace(false))
}

/// Yields to all other work; ends when the call may compute again.
pub(in crate::plugin) fn yield_now() -> impl Future<Output = ()> + Send {
    let mut has_yielded = false;
    std::future::poll_fn(move |cx| {
        let yielded_before = std::mem::replace(&mut has_yielded, true);
        match POLLER.get() {
            Poller::Inline | Poller::Pool if yielded_before => return Poll::Ready(()),
            Poller::Inline => cx.waker().wake_by_ref(),
            Poller::Task | Poller::Pool => YIELDED.set(true),
        }
        Poll::Pending
    })
}

/// The threads, and the queue of calls for them.
#[derive(Clone)]
pub(in crate::plugin) struct OffloadPool(Arc<CloseOnDrop>);

/// Closes the queue, which ends the threads, once nobody can push a call any more.
struct CloseOnDrop(Arc<Queue>);

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    pushed: Condvar,
}

#[derive(Default)]
struct Jobs {
    queued: VecDeque<Arc<dyn Run>>,
    is_closed: bool,
}

impl OffloadPool {
    /// Starts the threads, fewer than there are processors: one is left to calls that do not compute.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub(in crate::plugin) fn start() -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self::of(processors.saturating_sub(1).max(1))
    }

    fn of(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let closing = CloseOnDrop(Arc::clone(&queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("compute".into()).spawn(move || queue.serve())?;
        }
        Ok(Self(Arc::new(closing)))
    }

    /// Runs `call` on these threads while it computes.
    pub(in crate::plugin) fn offload<F>(&self, call: F) -> Offloaded<F>
    where
        F: Future + Send + Unpin + 'static,
        F::Output: Send,
    {
        Offloaded { pool: self.clone(), location: Location::InTask(call) }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        locked(&self.0.jobs).is_closed = true;
        self.0.pushed.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Arc<dyn Run>) {
        locked(&self.jobs).queued.push_back(job);
        self.pushed.notify_one();
    }

    fn serve(&self) {
        while let Some(job) = self.next() {
            if let Some(again) = job.run() {
                self.push(again);
            }
        }
    }

    fn next(&self) -> Option<Arc<dyn Run>> {
        let mut jobs = locked(&self.jobs);
        loop {
            match jobs.queued.pop_front() {
                None if jobs.is_closed => return None,
                None => jobs = self.pushed.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                job => return job,
            }
        }
    }
}

/// A call that goes on in the task that polls this, or in the pool. Dropping it stops the call: at once, or,
/// if a thread is polling it, at the end of its tick.
pub struct Offloaded<F: Future> {
    pool: OffloadPool,
    location: Location<F>,
}

enum Location<F: Future> {
    InTask(F),
    InPool(Arc<Job<F>>),
    Ended,
}

impl<F> Future for Offloaded<F>
where
    F: Future + Send + Unpin + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            self.location = match std::mem::replace(&mut self.location, Location::Ended) {
                Location::InTask(mut call) => {
                    match poll_as(Poller::Task, || Pin::new(&mut call).poll(cx)) {
                        (Poll::Ready(output), _) => return Poll::Ready(output),
                        (Poll::Pending, true) => {
                            let job = Job::new(call, cx.waker().clone());
                            self.location = Location::InPool(Arc::clone(&job));
                            self.pool.0.0.push(job);
                        }
                        (Poll::Pending, false) => self.location = Location::InTask(call),
                    }
                    return Poll::Pending;
                }
                Location::InPool(job) => match job.take_returned(cx) {
                    Some(Returned::Call(call)) => Location::InTask(call),
                    Some(Returned::Output(output)) => return Poll::Ready(output),
                    Some(Returned::Panic(panic)) => resume_unwind(panic),
                    None => {
                        self.location = Location::InPool(job);
                        return Poll::Pending;
                    }
                },
                Location::Ended => return Poll::Pending,
            };
        }
    }
}

impl<F: Future> Drop for Offloaded<F> {
    fn drop(&mut self) {
        if let Location::InPool(job) = &self.location {
            // The call is dropped without the lock.
            let dropped = locked(&job.state).take();
            drop(dropped);
        }
    }
}

/// A call as the threads see it.
trait Run: Send + Sync {
    /// Polls the call for a tick; returns it if it is queued for another.
    fn run(self: Arc<Self>) -> Option<Arc<dyn Run>>;
}

/// A call in the pool.
struct Job<F: Future> {
    state: Mutex<State<F>>,
    /// The runtime of the call's timers and sockets.
    runtime: Handle,
}

struct State<F: Future> {
    stage: Stage<F>,
    /// Wakes the call's task.
    waker: Waker,
}

enum Stage<F: Future> {
    /// In the queue for a thread.
    Queued(F),
    /// Polled by a thread.
    Running {
        /// Set if the call was woken meanwhile: it may have something else to do than to compute.
        is_woken: bool,
    },
    /// On its way back to its task.
    Returned(Returned<F>),
    /// Dropped by its task, or taken.
    Dropped,
}

enum Returned<F: Future> {
    Call(F),
    Output(F::Output),
    Panic(Box<dyn Any + Send>),
}

impl<F: Future> State<F> {
    fn take(&mut self) -> Stage<F> {
        std::mem::replace(&mut self.stage, Stage::Dropped)
    }
}

impl<F: Future> Job<F> {
    fn new(call: F, waker: Waker) -> Arc<Self> {
        let state = Mutex::new(State { stage: Stage::Queued(call), waker });
        Arc::new(Self { state, runtime: Handle::current() })
    }

    /// Takes the call, or its outcome, back into its task; otherwise has the task woken once there is one.
    /// Any other wake-up of the task is meant for the call, which registered the task's waker before it came
    /// here.
    fn take_returned(&self, cx: &Context<'_>) -> Option<Returned<F>> {
        let mut state = locked(&self.state);
        match state.take() {
            Stage::Returned(returned) => return Some(returned),
            Stage::Queued(call) => return Some(Returned::Call(call)),
            Stage::Running { .. } => state.stage = Stage::Running { is_woken: true },
            Stage::Dropped => {}
        }
        state.waker.clone_from(cx.waker());
        None
    }

    /// Takes the call out, to be polled; `None` if it has returned to its task meanwhile.
    fn start(&self) -> Option<F> {
        let mut state = locked(&self.state);
        match state.take() {
            Stage::Queued(call) => {
                state.stage = Stage::Running { is_woken: false };
                Some(call)
            }
            stage => {
                state.stage = stage;
                None
            }
        }
    }

    /// Queues the call for another tick, unless it was woken; returns true if it is queued.
    fn requeue(&self, call: F) -> bool {
        let mut state = locked(&self.state);
        let is_queued = matches!(state.stage, Stage::Running { is_woken: false });
        if is_queued {
            state.stage = Stage::Queued(call);
        } else {
            drop(state);
            self.return_to_task(Returned::Call(call));
        }
        is_queued
    }

    /// Returns the call to its task, if that still exists.
    fn return_to_task(&self, returned: Returned<F>) {
        let mut state = locked(&self.state);
        // Dropping a call may run code of the sandbox, so it is not done under the lock.
        let unwanted = match state.stage {
            Stage::Dropped => Some(returned),
            _ => {
                state.stage = Stage::Returned(returned);
                None
            }
        };
        let waker = state.waker.clone();
        drop(state);
        drop(unwanted);
        waker.wake();
    }
}

impl<F> Wake for Job<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn wake(self: Arc<Self>) {
        let mut state = locked(&self.state);
        match state.take() {
            // A thread would poll it too, but the queue can be long.
            Stage::Queued(call) => {
                state.stage = Stage::Returned(Returned::Call(call));
                let waker = state.waker.clone();
                drop(state);
                waker.wake();
            }
            Stage::Running { .. } => state.stage = Stage::Running { is_woken: true },
            stage => state.stage = stage,
        }
    }
}

impl<F> Run for Job<F>
where
    F: Future + Send + Unpin + 'static,
    F::Output: Send,
{
    fn run(self: Arc<Self>) -> Option<Arc<dyn Run>> {
        let mut call = self.start()?;
        let waker = Waker::from(Arc::clone(&self));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let _entered = self.runtime.enter();
            let mut cx = Context::from_waker(&waker);
            poll_as(Poller::Pool, || Pin::new(&mut call).poll(&mut cx))
        }));
        match polled {
            Ok((Poll::Pending, true)) => return self.requeue(call).then_some(self),
            Ok((Poll::Pending, false)) => self.return_to_task(Returned::Call(call)),
            Ok((Poll::Ready(output), _)) => self.return_to_task(Returned::Output(output)),
            Err(panic) => self.return_to_task(Returned::Panic(panic)),
        }
        None
    }
}

#[cfg(test)]
mod tests;
