//! The clock by which running plugins are made to give way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How long a plugin may compute before it gives way to others on its thread, at most twice this.
///
/// Also how soon after its cancellation a computing plugin stops. Shorter costs a wake-up of one thread more
/// often, longer is added to the latency of the requests that wait for the same thread.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without any call after which the ticker sleeps until the next call.
const IDLE_TICKS: u32 = 100;

/// Increments an engine's epoch while calls run. Stops and joins its thread when dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    asleep: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts ticking `engine`; `is_idle` tells whether no call is running.
    pub(super) fn start(
        engine: Engine,
        is_idle: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("epoch-ticker".into())
            .spawn(move || tick(&engine, &is_idle, &of_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// To be called when a call begins, after it counts as running for `is_idle`.
    pub(super) fn wake(&self) {
        // Pairs with the fence in `tick`: either it sees the new call, or this sees that it sleeps.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.thread().map(Thread::unpark);
        }
    }

    fn thread(&self) -> Option<&Thread> {
        self.thread.as_ref().map(JoinHandle::thread)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only sleeps and counts; it has no panic to hand on.
            let _ = thread.join();
        }
    }
}

fn tick(engine: &Engine, is_idle: &dyn Fn() -> bool, shared: &Shared) {
    let mut idle_ticks = 0;
    while !shared.stopped.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        engine.increment_epoch();
        idle_ticks = if is_idle() { idle_ticks + 1 } else { 0 };
        if idle_ticks < IDLE_TICKS {
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        while is_idle() && !shared.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle_ticks = 0;
    }
}
