//! A mark on the process's memory above which the server accepts no further work.
//!
//! Each other bound limits one thing; this one limits their sum, and everything without a bound of its own.
//! The mark is global to the process, as its memory is, so that callers need no handle. Knows neither what
//! holds memory nor what releases it.

mod available;
mod usage;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::usage::Usage;
use crate::telemetry::metrics::Counter;

pub use self::available::available;

/// Set while the mark is exceeded and there has been no relief.
static IS_PASSED: AtomicBool = AtomicBool::new(false);
static MARK_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);
static USED_BYTES: AtomicU64 = AtomicU64::new(0);
static RELIEVED: Notify = Notify::const_new();

/// Assumed rate at which clients fill memory, in bytes per second: several times their rate over loopback, to
/// account for derived data. Determines the time until the next look.
const FILLED_PER_SECOND: u64 = 4 << 30;

/// Minimum and maximum time between two looks. A look costs some 40 µs.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Time between two looks above the mark, while no further work is accepted.
const PAUSE_ABOVE: Duration = Duration::from_millis(50);

/// Interval of returning freed memory to the system.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// Message to clients.
pub const IS_SHORT: &str = "The server is short of memory; try again later";

/// Returns true if the process holds too much memory: then reject or delay all work that can wait. A relaxed
/// load.
#[must_use]
pub fn is_passed() -> bool {
    IS_PASSED.load(Ordering::Relaxed)
}

/// Waits until the process holds no more memory than it may.
pub async fn relief() {
    while is_passed() {
        // Created before the flag is checked again, so that no relief is missed.
        let relieved = RELIEVED.notified();
        if !is_passed() {
            return;
        }
        relieved.await;
    }
}

/// Sets the mark, in bytes.
pub fn set_mark(bytes: u64) {
    MARK_BYTES.store(bytes, Ordering::Relaxed);
}

/// The mark, in bytes.
#[must_use]
pub fn mark_bytes() -> u64 {
    MARK_BYTES.load(Ordering::Relaxed)
}

/// Memory held at the last look, in bytes.
#[must_use]
pub fn used_bytes() -> u64 {
    USED_BYTES.load(Ordering::Relaxed)
}

/// Monitors the process's memory on a separate thread that nothing else can block. Stops and joins it when
/// dropped.
pub struct Watch {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts monitoring. Above the mark `give_up` is called repeatedly to release memory; `tell` is called
    /// when the mark is passed and at relief.
    ///
    /// # Errors
    ///
    /// The system does not provide the memory figures, or no thread can be started.
    pub fn start(give_up: impl Fn() + Send + 'static, tell: impl Fn() + Send + 'static) -> io::Result<Self> {
        let usage = Usage::open()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let watcher =
            Watcher { usage, is_stopped: Arc::clone(&is_stopped), purged: Instant::now(), passed: None };
        let thread = thread::Builder::new().name("memory-watch".into());
        let thread = thread.spawn(move || watcher.run(&give_up, &tell))?;
        Ok(Self { is_stopped, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in it was reported as it happened.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    usage: Usage,
    is_stopped: Arc<AtomicBool>,
    purged: Instant,
    /// Time since which the mark has been exceeded.
    passed: Option<Instant>,
}

impl Watcher {
    fn run(mut self, give_up: &dyn Fn(), tell: &dyn Fn()) {
        while !self.is_stopped.load(Ordering::SeqCst) {
            let (used, mark) = (self.look(), mark_bytes());
            match (self.passed, is_above(self.passed, used, mark)) {
                (None, true) => {
                    self.pass(used, mark);
                    tell();
                }
                (Some(since), false) => {
                    self.relieve(used, since);
                    tell();
                }
                _ => {}
            }
            if self.passed.is_some() {
                // `give_up` runs foreign drop code, and a panic in it must not end the watch.
                let _ = catch_unwind(AssertUnwindSafe(give_up));
            }
            thread::park_timeout(pause(used, mark));
        }
    }

    /// Returns the memory held; above the mark, or when a purge is due, without freed memory that the
    /// allocator retains.
    fn look(&mut self) -> u64 {
        let mut used = self.usage.bytes();
        if self.purged.elapsed() >= PURGE_EVERY || is_above(self.passed, used, mark_bytes()) {
            usage::purge();
            self.purged = Instant::now();
            used = self.usage.bytes();
        }
        USED_BYTES.store(used, Ordering::Relaxed);
        used
    }

    fn pass(&mut self, used_bytes: u64, mark_bytes: u64) {
        self.passed = Some(Instant::now());
        IS_PASSED.store(true, Ordering::SeqCst);
        Counter::MemoryMarkPassed.count();
        tracing::warn!(target: "lictor::memory", used_bytes, mark_bytes, "memory is short: calls are refused, connections wait");
    }

    fn relieve(&mut self, used_bytes: u64, since: Instant) {
        self.passed = None;
        IS_PASSED.store(false, Ordering::SeqCst);
        RELIEVED.notify_waiters();
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(target: "lictor::memory", used_bytes, millis, "memory is no longer short");
    }
}

/// However the watcher ends, nobody waits for a relief that it can no longer notice.
impl Drop for Watcher {
    fn drop(&mut self) {
        IS_PASSED.store(false, Ordering::SeqCst);
        RELIEVED.notify_waiters();
    }
}

/// Returns true if `used` is too much: above the mark or, once that was `passed`, above nine tenths of it.
fn is_above(passed: Option<Instant>, used: u64, mark: u64) -> bool {
    used > passed.map_or(mark, |_| mark / 10 * 9)
}

/// Time until the next look: no longer than filling the memory up to the mark takes.
fn pause(used: u64, mark: u64) -> Duration {
    match mark.checked_sub(used) {
        None => PAUSE_ABOVE,
        Some(left) => Duration::from_millis(left.saturating_mul(1_000) / FILLED_PER_SECOND)
            .clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn relief_comes_at_nine_tenths_of_the_mark() {
        for (was_above, used, above) in [
            (false, 0, false),
            (false, 950, false),
            (false, 1_000, false),
            (false, 1_001, true),
            (true, 1_000, true),
            (true, 901, true),
            (true, 900, false),
        ] {
            let passed = was_above.then(Instant::now);
            assert_eq!(is_above(passed, used, 1_000), above, "{was_above} {used}");
        }
        assert!(!is_above(None, u64::MAX, u64::MAX));
    }

    #[test]
    fn the_nearer_the_mark_the_sooner_is_the_next_look() {
        for (used, mark, millis) in [
            (0, u64::MAX, 500),
            (100 * MIB, 1_124 * MIB, 250),
            (1_000 * MIB, 1_124 * MIB, 30),
            (1_123 * MIB, 1_124 * MIB, 10),
            (1_124 * MIB, 1_124 * MIB, 10),
            (1_125 * MIB, 1_124 * MIB, 50),
        ] {
            assert_eq!(pause(used, mark).as_millis(), millis, "{used} of {mark}");
        }
    }

    #[tokio::test]
    async fn where_there_is_memory_nobody_waits() {
        assert!(!is_passed());
        relief().await;
    }
}
