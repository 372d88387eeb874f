//! The clock that makes running plugins yield.
//!
//! Every poll of a guest goes through [`entered`], which counts it on its thread. While any is counted, and
//! shortly after, the ticker raises the epoch of its engines each [`TICK`]. Otherwise it dozes, but still
//! raises them each [`GUARD_TICK`]: a guest that runs uncounted, by a fault of this module's users, then
//! yields late instead of never, and is [reported](note_tick).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

use crate::sync::locked;
use crate::telemetry::metrics::Counter;

/// Time that a plugin may compute before it yields to others on its thread; at most twice this.
///
/// Also bounds the time in which a computing plugin stops after its cancellation. A shorter tick wakes one
/// thread more often; a longer one adds to the latency of the requests that wait for the same thread.
pub(in crate::plugin) const TICK: Duration = Duration::from_millis(1);

/// Ticks without any entry after which the ticker dozes until the next entry.
const IDLE_TICKS: u32 = 100;

/// Time between two ticks while nothing is counted: the longest that an uncounted guest holds its thread.
/// Costs an idle server ten wake-ups a second, each of microseconds.
const GUARD_TICK: Duration = Duration::from_millis(100);

/// Raises the epoch of engines. Stops and joins its thread when dropped.
pub(in crate::plugin) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<Vec<Engine>>,
    stopped: AtomicBool,
}

impl Ticker {
    /// Starts a ticker without engines.
    pub(in crate::plugin) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("epoch-ticker".into()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks `engine` from now on, as long as the ticker runs.
    pub(in crate::plugin) fn add(&self, engine: Engine) {
        locked(&self.shared.engines).push(engine);
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

impl Shared {
    fn run(&self) {
        let (mut seen, mut idle_ticks) = (0, 0_u32);
        while !self.is_stopped() {
            let dozes = idle_ticks >= IDLE_TICKS;
            if dozes {
                self.doze(seen);
            } else {
                thread::sleep(TICK);
            }
            idle_ticks = if was_entered_since(&mut seen) { 0 } else { idle_ticks.saturating_add(1) };
            // The guest whose entry ended the doze gets a whole tick.
            if !dozes || idle_ticks > 0 {
                locked(&self.engines).iter().for_each(Engine::increment_epoch);
            }
        }
    }

    /// Sleeps for [`GUARD_TICK`], or less if a guest is entered after those that were `seen`.
    fn doze(&self, mut seen: u32) {
        let mut dozing = locked(&DOZING);
        dozing.push(thread::current());
        IS_DOZING.store(true, Ordering::SeqCst);
        drop(dozing);
        // Pairs with `Entries::enter`: either this sees the entry, or the entry sees that the ticker dozes.
        if !was_entered_since(&mut seen) && !self.is_stopped() {
            thread::park_timeout(GUARD_TICK);
        }
        let mut dozing = locked(&DOZING);
        dozing.retain(|other| other.id() != thread::current().id());
        IS_DOZING.store(!dozing.is_empty(), Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// The entries of each thread that has entered a guest and has not ended.
static THREADS: Mutex<Vec<Arc<AtomicU32>>> = Mutex::new(Vec::new());

/// The dozing tickers, to be woken by the next entry.
static DOZING: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

/// Set while any ticker dozes; each entry loads it.
static IS_DOZING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ENTRIES: Entries = Entries::of_this_thread();
}

/// Number of times that a guest was entered or left on one thread: odd while one is entered. Written by that
/// thread alone, so that an entry touches nothing that other threads write.
struct Entries(Arc<AtomicU32>);

/// Polls a guest through `poll`, and counts it as entered meanwhile.
///
/// A guest that is entered within another's host function, on the same thread, is counted with that one.
pub(in crate::plugin) fn entered<T>(poll: impl FnOnce() -> T) -> T {
    ENTRIES.with(|entries| {
        let _entered = entries.enter();
        poll()
    })
}

/// Notes that a guest on this thread sees a tick. If it was not counted, only the guard or others' ticks have
/// reached it: a fault of the server, which is always counted and logged once.
pub(in crate::plugin) fn note_tick() {
    if ENTRIES.with(Entries::has_entered) {
        return;
    }
    static FIRST: Once = Once::new();
    Counter::GuestsUncounted.count();
    FIRST.call_once(|| {
        tracing::error!(target: "lictor::plugin", "a plugin runs that is not counted as entered");
    });
}

impl Entries {
    fn of_this_thread() -> Self {
        let entries = Arc::default();
        locked(&THREADS).push(Arc::clone(&entries));
        Self(entries)
    }

    fn has_entered(&self) -> bool {
        is_entered(self.0.load(Ordering::Relaxed))
    }

    /// Counts an entry until the value is dropped; returns `None` if one is counted already.
    fn enter(&self) -> Option<Entered<'_>> {
        let entries = self.0.load(Ordering::Relaxed);
        if is_entered(entries) {
            return None;
        }
        // A swap instead of a store, so that the load below can't come before it: see `Shared::doze`.
        self.0.swap(entries.wrapping_add(1), Ordering::SeqCst);
        if IS_DOZING.load(Ordering::SeqCst) {
            wake_tickers();
        }
        Some(Entered(self))
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        locked(&THREADS).retain(|known| !Arc::ptr_eq(known, &self.0));
    }
}

/// A guest that is entered on this thread.
struct Entered<'a>(&'a Entries);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let entries = self.0.0.load(Ordering::Relaxed);
        self.0.0.store(entries.wrapping_add(1), Ordering::Release);
    }
}

const fn is_entered(entries: u32) -> bool {
    entries % 2 == 1
}

#[cold]
fn wake_tickers() {
    let mut dozing = locked(&DOZING);
    dozing.drain(..).for_each(|thread| thread.unpark());
    IS_DOZING.store(false, Ordering::SeqCst);
}

/// Returns true if a guest is entered on any thread, or was since the sum of all entries was `seen`; updates
/// `seen`.
fn was_entered_since(seen: &mut u32) -> bool {
    let (mut sum, mut is_any_entered) = (0_u32, false);
    for entries in locked(&THREADS).iter() {
        let entries = entries.load(Ordering::SeqCst);
        sum = sum.wrapping_add(entries);
        is_any_entered |= is_entered(entries);
    }
    std::mem::replace(seen, sum) != sum || is_any_entered
}

#[cfg(test)]
mod tests;
