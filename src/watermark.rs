//! The mark of the process's memory above which the server takes on nothing more.
//!
//! All other bounds are each for one thing; this one is for their sum, and for what no bound was thought of. The mark is the
//! process's, as its memory is, so whoever asks has nothing to hand along. Knows neither what holds memory nor what gives it up.

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

/// Whether the mark is passed and there was no relief since.
static IS_PASSED: AtomicBool = AtomicBool::new(false);
static MARK_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);
static USED_BYTES: AtomicU64 = AtomicU64::new(0);
static RELIEVED: Notify = Notify::const_new();

/// How fast clients are taken to fill memory, in bytes per second: several times what they can send over loopback, for what is
/// made of it. It sets how soon after one look comes the next.
const FILLED_PER_SECOND: u64 = 4 << 30;

/// The least and the most time between two looks. A look costs some 40 µs.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Time between two looks above the mark, where nothing more is taken on.
const PAUSE_ABOVE: Duration = Duration::from_millis(50);

/// How often freed memory is given back to the system.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// What clients are told of it.
pub const IS_SHORT: &str = "The server is short of memory; try again later";

/// Whether the process holds more than it may: then nothing is taken on that can wait. A relaxed load.
#[must_use]
pub fn is_passed() -> bool {
    IS_PASSED.load(Ordering::Relaxed)
}

/// Waits until the process holds no more than it may.
pub async fn relief() {
    while is_passed() {
        // Made before the flag is looked at again, so that no relief is missed.
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

/// What the process held at the last look, in bytes.
#[must_use]
pub fn used_bytes() -> u64 {
    USED_BYTES.load(Ordering::Relaxed)
}

/// Looks at the process's memory, from a thread of its own that nothing else can hold. Stops and joins it when dropped.
pub struct Watch {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to look. Above the mark memory is to be given up by `give_up`, again and again; `tell` is called when the mark is
    /// passed and at relief.
    ///
    /// # Errors
    ///
    /// When the system does not tell what the process holds, or gives no thread.
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
    /// Since when the mark is passed.
    passed: Option<Instant>,
}

impl Watcher {
    fn run(mut self, give_up: &dyn Fn(), tell: &dyn Fn()) {
        while !self.is_stopped.load(Ordering::SeqCst) {
            let (used, mark) = (self.look(), mark_bytes());
            match (self.passed, is_above(self.passed.is_some(), used, mark)) {
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
                // What is dropped is not this module's, and a panic in it must not end the watch.
                let _ = catch_unwind(AssertUnwindSafe(give_up));
            }
            thread::park_timeout(pause(used, mark));
        }
    }

    /// What the process holds; where that is too much, or it is time, without what the allocator only keeps.
    fn look(&mut self) -> u64 {
        let mut used = self.usage.bytes();
        if self.purged.elapsed() >= PURGE_EVERY || is_above(self.passed.is_some(), used, mark_bytes()) {
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

/// However it ends, nobody waits for a relief that nobody would see.
impl Drop for Watcher {
    fn drop(&mut self) {
        IS_PASSED.store(false, Ordering::SeqCst);
        RELIEVED.notify_waiters();
    }
}

/// Whether `used` is too much: above the mark, and, where it was passed, until there is a tenth of it to spare.
fn is_above(was_above: bool, used: u64, mark: u64) -> bool {
    used > if was_above { mark / 10 * 9 } else { mark }
}

/// How long to wait for the next look: no longer than memory takes to be filled up to the mark.
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
            assert_eq!(is_above(was_above, used, 1_000), above, "{was_above} {used}");
        }
        assert!(!is_above(false, u64::MAX, u64::MAX));
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
