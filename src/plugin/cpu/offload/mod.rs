//! Threads of their own for calls that compute for longer than a tick.
//!
//! A thread of the runtime that computes looks for no ready socket, and what it had taken up before waits for
//! it: tokio's workers can't take a task that another has put next. So with two calls that compute, on two
//! processors, requests that have nothing to do with them waited for several ticks. Here the system shares
//! the processors out instead: a thread that becomes ready goes before one that has computed for long.
//!
//! A call begins where its request was read, and most end there. One that does not becomes a task of the
//! runtime, which polls it by [`Offloaded`]. When the call has computed for a tick it is handed to these
//! threads, one tick at a time, first come first served; when it waits for something or is woken, by its
//! deadline for instance, it is handed back.

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
    static POLLED_BY: Cell<PolledBy> = const { Cell::new(PolledBy::Other) };
    static GAVE_WAY: Cell<bool> = const { Cell::new(false) };
}

/// Who polls a call on this thread, which tells where it can go on computing.
#[derive(Clone, Copy, PartialEq)]
enum PolledBy {
    /// Here, since it will not be moved.
    Other,
    /// On a thread of its own.
    Task,
    /// Here, at its next turn.
    Computer,
}

/// Polls as `by`. The second value tells whether what was polled gave way.
fn poll_as<T>(by: PolledBy, poll: impl FnOnce() -> T) -> (T, bool) {
    struct Restored(PolledBy);
    impl Drop for Restored {
        fn drop(&mut self) {
            POLLED_BY.set(self.0);
        }
    }
    let _restored = Restored(POLLED_BY.replace(by));
    GAVE_WAY.set(false);
    let polled = poll();
    (polled, GAVE_WAY.replace(false))
}

/// Gives way to all else that is to be done; ends when it may compute again.
pub(in crate::plugin) fn give_way() -> impl Future<Output = ()> + Send {
    let mut has_given_way = false;
    std::future::poll_fn(move |cx| {
        let gave_way_before = std::mem::replace(&mut has_given_way, true);
        match POLLED_BY.get() {
            PolledBy::Other | PolledBy::Computer if gave_way_before => return Poll::Ready(()),
            PolledBy::Other => cx.waker().wake_by_ref(),
            PolledBy::Task | PolledBy::Computer => GAVE_WAY.set(true),
        }
        Poll::Pending
    })
}

/// The threads, and the calls that wait for one.
#[derive(Clone)]
pub(in crate::plugin) struct Compute(Arc<Threads>);

/// Ends the threads when nobody can hand them a call any more.
struct Threads(Arc<Queue>);

#[derive(Default)]
struct Queue {
    line: Mutex<Line>,
    came: Condvar,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Arc<dyn Run>>,
    is_closed: bool,
}

impl Compute {
    /// Starts the threads, fewer than there are processors: one is left to what takes no time.
    ///
    /// # Errors
    ///
    /// When the machine gives none.
    pub(in crate::plugin) fn start() -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self::of(processors.saturating_sub(1).max(1))
    }

    fn of(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let of_all = Threads(Arc::clone(&queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("compute".into()).spawn(move || queue.serve())?;
        }
        Ok(Self(Arc::new(of_all)))
    }

    /// Runs `call` on these threads while it computes.
    pub(in crate::plugin) fn offload<F>(&self, call: F) -> Offloaded<F>
    where
        F: Future + Send + Unpin + 'static,
        F::Output: Send,
    {
        Offloaded { compute: self.clone(), place: Place::Here(call) }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        locked(&self.0.line).is_closed = true;
        self.0.came.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Arc<dyn Run>) {
        locked(&self.line).jobs.push_back(job);
        self.came.notify_one();
    }

    fn serve(&self) {
        while let Some(job) = self.next() {
            if let Some(again) = job.run() {
                self.push(again);
            }
        }
    }

    fn next(&self) -> Option<Arc<dyn Run>> {
        let mut line = locked(&self.line);
        loop {
            match line.jobs.pop_front() {
                None if line.is_closed => return None,
                None => line = self.came.wait(line).unwrap_or_else(PoisonError::into_inner),
                job => return job,
            }
        }
    }
}

/// A call wherever it goes on: in the task that polls this, or on one of the threads. To drop it stops the
/// call: at once, or, where it computes at the moment, at the end of its tick.
pub struct Offloaded<F: Future> {
    compute: Compute,
    place: Place<F>,
}

enum Place<F: Future> {
    Here(F),
    There(Arc<Job<F>>),
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
            self.place = match std::mem::replace(&mut self.place, Place::Ended) {
                Place::Here(mut call) => {
                    match poll_as(PolledBy::Task, || Pin::new(&mut call).poll(cx)) {
                        (Poll::Ready(output), _) => return Poll::Ready(output),
                        (Poll::Pending, true) => {
                            let job = Job::new(call, cx.waker().clone());
                            self.place = Place::There(Arc::clone(&job));
                            self.compute.0.0.push(job);
                        }
                        (Poll::Pending, false) => self.place = Place::Here(call),
                    }
                    return Poll::Pending;
                }
                Place::There(job) => match job.take_back(cx) {
                    Some(Back::Call(call)) => Place::Here(call),
                    Some(Back::Output(output)) => return Poll::Ready(output),
                    Some(Back::Panic(panic)) => resume_unwind(panic),
                    None => {
                        self.place = Place::There(job);
                        return Poll::Pending;
                    }
                },
                Place::Ended => return Poll::Pending,
            };
        }
    }
}

impl<F: Future> Drop for Offloaded<F> {
    fn drop(&mut self) {
        if let Place::There(job) = &self.place {
            // What it held is dropped without the lock.
            let given_up = locked(&job.state).take();
            drop(given_up);
        }
    }
}

/// What one of the threads does next.
trait Run: Send + Sync {
    /// Has the call compute for a tick; gives it back where it is to have another.
    fn run(self: Arc<Self>) -> Option<Arc<dyn Run>>;
}

/// A call on the threads.
struct Job<F: Future> {
    state: Mutex<State<F>>,
    /// Where it registers what it waits for.
    runtime: Handle,
}

struct State<F: Future> {
    stage: Stage<F>,
    /// Its task.
    waker: Waker,
}

enum Stage<F: Future> {
    /// It waits for a thread.
    Waits(F),
    /// A thread polls it.
    Computes {
        /// Whether it was woken meanwhile: it may have something else to do than to compute.
        is_woken: bool,
    },
    /// Its task is to take it back.
    Back(Back<F>),
    /// Nobody wants it any more.
    GivenUp,
}

enum Back<F: Future> {
    Call(F),
    Output(F::Output),
    Panic(Box<dyn Any + Send>),
}

impl<F: Future> State<F> {
    fn take(&mut self) -> Stage<F> {
        std::mem::replace(&mut self.stage, Stage::GivenUp)
    }
}

impl<F: Future> Job<F> {
    fn new(call: F, waker: Waker) -> Arc<Self> {
        let state = Mutex::new(State { stage: Stage::Waits(call), waker });
        Arc::new(Self { state, runtime: Handle::current() })
    }

    /// What became of it, for its task; that is woken when there is something. Who wakes the task otherwise
    /// means the call: it registered the task's waker before it came here.
    fn take_back(&self, cx: &Context<'_>) -> Option<Back<F>> {
        let mut state = locked(&self.state);
        match state.take() {
            Stage::Back(back) => return Some(back),
            Stage::Waits(call) => return Some(Back::Call(call)),
            Stage::Computes { .. } => state.stage = Stage::Computes { is_woken: true },
            Stage::GivenUp => {}
        }
        state.waker.clone_from(cx.waker());
        None
    }

    /// Takes it out of the line, to compute.
    fn begin(&self) -> Option<F> {
        let mut state = locked(&self.state);
        match state.take() {
            Stage::Waits(call) => {
                state.stage = Stage::Computes { is_woken: false };
                Some(call)
            }
            stage => {
                state.stage = stage;
                None
            }
        }
    }

    /// Puts it back into the line, unless there is something else for it to do; tells whether it did.
    fn wait(&self, call: F) -> bool {
        let mut state = locked(&self.state);
        let may_wait = matches!(state.stage, Stage::Computes { is_woken: false });
        if may_wait {
            state.stage = Stage::Waits(call);
        } else {
            drop(state);
            self.hand_back(Back::Call(call));
        }
        may_wait
    }

    /// Hands it to its task, if that is still there.
    fn hand_back(&self, back: Back<F>) {
        let mut state = locked(&self.state);
        // What is given up may run code of the sandbox as it is dropped, so not under the lock.
        let unwanted = match state.stage {
            Stage::GivenUp => Some(back),
            _ => {
                state.stage = Stage::Back(back);
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
            // At its turn it would see to it too, but that can be far.
            Stage::Waits(call) => {
                state.stage = Stage::Back(Back::Call(call));
                let waker = state.waker.clone();
                drop(state);
                waker.wake();
            }
            Stage::Computes { .. } => state.stage = Stage::Computes { is_woken: true },
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
        let mut call = self.begin()?;
        let waker = Waker::from(Arc::clone(&self));
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let _entered = self.runtime.enter();
            let mut cx = Context::from_waker(&waker);
            poll_as(PolledBy::Computer, || Pin::new(&mut call).poll(&mut cx))
        }));
        match polled {
            Ok((Poll::Pending, true)) => return self.wait(call).then_some(self),
            Ok((Poll::Pending, false)) => self.hand_back(Back::Call(call)),
            Ok((Poll::Ready(output), _)) => self.hand_back(Back::Output(output)),
            Err(panic) => self.hand_back(Back::Panic(panic)),
        }
        None
    }
}

#[cfg(test)]
mod tests;
