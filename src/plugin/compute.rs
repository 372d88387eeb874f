//! Threads of their own for calls that compute for longer than a tick.
//!
//! A thread of the runtime that computes looks for no ready socket, and what it had taken up before waits for it: tokio's
//! workers can't take a task that another has put next. So with two calls that compute, on two processors, requests
//! that have nothing to do with them waited for several ticks. Here the system shares the processors out instead: a
//! thread that becomes ready goes before one that has computed for long.
//!
//! A call begins where its request was read, and most end there. One that does not becomes a task of the runtime, which
//! polls it by [`Aside`]. When the call has computed for a tick it is handed to these threads, one tick at a time, first
//! come first served; when it waits for something or is woken, by its deadline for instance, it is handed back.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use tokio::runtime::Handle;

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
pub(super) fn give_way() -> impl Future<Output = ()> + Send {
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
pub(super) struct Compute(Arc<Threads>);

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
    pub(super) fn start() -> std::io::Result<Self> {
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

    /// `call`, which goes on here for as long as it computes.
    pub(super) fn aside<F>(&self, call: F) -> Aside<F>
    where
        F: Future + Send + Unpin + 'static,
        F::Output: Send,
    {
        Aside { compute: self.clone(), place: Place::Here(call) }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.0.line).is_closed = true;
        self.0.came.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Arc<dyn Run>) {
        lock(&self.line).jobs.push_back(job);
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
        let mut line = lock(&self.line);
        loop {
            match line.jobs.pop_front() {
                None if line.is_closed => return None,
                None => line = self.came.wait(line).unwrap_or_else(PoisonError::into_inner),
                job => return job,
            }
        }
    }
}

/// No code of others runs under these locks, so what they guard is whole whatever panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call wherever it goes on: in the task that polls this, or on one of the threads. To drop it stops the call: at once,
/// or, where it computes at the moment, at the end of its tick.
pub(super) struct Aside<F: Future> {
    compute: Compute,
    place: Place<F>,
}

enum Place<F: Future> {
    Here(F),
    There(Arc<Job<F>>),
    Ended,
}

impl<F> Future for Aside<F>
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

impl<F: Future> Drop for Aside<F> {
    fn drop(&mut self) {
        if let Place::There(job) = &self.place {
            // What it held is dropped without the lock.
            let given_up = lock(&job.state).take();
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

    /// What became of it, for its task; that is woken when there is something. Who wakes the task otherwise means the call:
    /// it registered the task's waker before it came here.
    fn take_back(&self, cx: &Context<'_>) -> Option<Back<F>> {
        let mut state = lock(&self.state);
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
        let mut state = lock(&self.state);
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
        let mut state = lock(&self.state);
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
        let mut state = lock(&self.state);
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
        let mut state = lock(&self.state);
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
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Computes until `is_over`, tick by tick; notes how many ticks it had, and on which threads.
    async fn computes(is_over: Arc<AtomicBool>, ticks: Arc<AtomicUsize>) -> Vec<Option<String>> {
        let mut threads = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            threads.push(thread::current().name().map(str::to_owned));
            ticks.fetch_add(1, Ordering::Relaxed);
            give_way().await;
        }
        threads
    }

    fn flags() -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        (Arc::default(), Arc::default())
    }

    async fn until(what: impl Fn() -> bool) {
        let waits = async {
            while !what() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), waits).await.expect("it comes true");
    }

    #[tokio::test]
    async fn what_computes_goes_on_elsewhere_and_comes_back_with_what_it_gives() {
        let compute = Compute::of(1).unwrap();
        let (is_over, ticks) = flags();
        let call = Box::pin(computes(Arc::clone(&is_over), Arc::clone(&ticks)));
        let call = tokio::spawn(compute.aside(call));
        until(|| ticks.load(Ordering::Relaxed) > 2).await;
        is_over.store(true, Ordering::Relaxed);
        let threads = call.await.unwrap();
        assert!(threads[0].as_deref() != Some("compute"), "it begins in its task");
        assert!(threads[1..].iter().all(|name| name.as_deref() == Some("compute")), "{threads:?}");
    }

    #[tokio::test]
    async fn many_have_a_tick_in_turn() {
        let compute = Compute::of(1).unwrap();
        let calls: Vec<_> = (0..4).map(|_| flags()).collect();
        let tasks: Vec<_> =
            calls.iter().cloned().map(|(o, t)| compute.aside(Box::pin(computes(o, t)))).collect();
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        until(|| calls.iter().all(|(_, ticks)| ticks.load(Ordering::Relaxed) > 100)).await;
        calls.iter().for_each(|(is_over, _)| is_over.store(true, Ordering::Relaxed));
        for task in tasks {
            task.await.unwrap();
        }
        let ticks: Vec<_> = calls.iter().map(|(_, ticks)| ticks.load(Ordering::Relaxed)).collect();
        let (least, most) = (ticks.iter().min().unwrap(), ticks.iter().max().unwrap());
        assert!(most - least <= 100, "{ticks:?}");
    }

    #[tokio::test]
    async fn what_waits_for_something_waits_in_its_task() {
        let compute = Compute::of(1).unwrap();
        let (answer, asked) = oneshot::channel();
        let call = Box::pin(async move {
            give_way().await;
            let there = thread::current().name().map(str::to_owned);
            let answer: u32 = asked.await.unwrap();
            give_way().await;
            (there, answer)
        });
        let call = tokio::spawn(compute.aside(call));
        // The only thread is free for others meanwhile.
        let (is_over, ticks) = flags();
        let other = tokio::spawn(compute.aside(Box::pin(computes(Arc::clone(&is_over), Arc::clone(&ticks)))));
        until(|| ticks.load(Ordering::Relaxed) > 2).await;
        answer.send(7).unwrap();
        assert_eq!(call.await.unwrap(), (Some("compute".to_owned()), 7));
        is_over.store(true, Ordering::Relaxed);
        other.await.unwrap();
    }

    /// One spins without end on the only thread; the deadline of another, which waits for its turn, holds.
    #[tokio::test]
    async fn a_deadline_is_met_however_long_the_line() {
        let compute = Compute::of(1).unwrap();
        let (is_over, ticks) = flags();
        let hog = {
            let (is_over, ticks) = (Arc::clone(&is_over), Arc::clone(&ticks));
            Box::pin(async move {
                give_way().await;
                ticks.fetch_add(1, Ordering::Relaxed);
                while !is_over.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            })
        };
        let hog = tokio::spawn(compute.aside(hog));
        until(|| ticks.load(Ordering::Relaxed) == 1).await;
        let (never, _) = flags();
        let call = timeout(Duration::from_millis(20), computes(never, Arc::default()));
        let call = tokio::spawn(compute.aside(Box::pin(call)));
        assert!(call.await.unwrap().is_err());
        is_over.store(true, Ordering::Relaxed);
        hog.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_dropped_stops_and_frees_what_it_holds() {
        let compute = Compute::of(1).unwrap();
        let (never, ticks) = flags();
        let held = Arc::new(());
        let hold = Arc::clone(&held);
        let counted = Arc::clone(&ticks);
        let call = Box::pin(async move {
            let _held = hold;
            computes(never, counted).await
        });
        let call = tokio::spawn(compute.aside(call));
        until(|| ticks.load(Ordering::Relaxed) > 2).await;
        call.abort();
        until(|| Arc::strong_count(&held) == 1).await;
    }

    #[tokio::test]
    async fn a_panic_comes_back_and_the_thread_goes_on() {
        let compute = Compute::of(1).unwrap();
        let panics = Box::pin(async {
            give_way().await;
            panic!("of a call");
        });
        let ended = tokio::spawn(compute.aside(panics)).await;
        assert!(ended.is_err_and(|error| error.is_panic()));
        let goes_on = Box::pin(async {
            give_way().await;
            1
        });
        assert_eq!(tokio::spawn(compute.aside(goes_on)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_will_not_be_moved_computes_on_where_it_is() {
        let mut given_way = 0;
        let here = thread::current().id();
        let call = async {
            give_way().await;
            thread::current().id()
        };
        let mut call = std::pin::pin!(call);
        let computed = poll_fn(|cx| {
            given_way += 1;
            call.as_mut().poll(cx)
        });
        assert_eq!((computed.await, given_way), (here, 2));
    }
}
