//! Counts of commands that each thread keeps for itself.
//!
//! A request writes no memory that another thread writes: a counter that all cores share would cost more than
//! the command. So each thread has counters of its own, which it alone writes, by a load and a store; a
//! scrape adds up those of all threads. What a thread has counted is kept when it ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use super::histogram::{BUCKETS, Distribution, bucket, nanos};
use crate::sync::locked;
use crate::wire::Code;

/// Number of series that there can be.
pub(super) const NUMBERS: u16 = 2048;

/// The results that are counted: success, and each code.
pub(super) const RESULTS: usize = 1 + Code::ALL.len();

/// Returns the place of a result among [`RESULTS`].
pub(super) fn result(code: Option<Code>) -> usize {
    code.map_or(0, |code| 1 + code as usize)
}

/// The counts of one series in one thread.
#[derive(Debug, Default)]
struct Series {
    results: [AtomicU64; RESULTS],
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

/// The counts of one thread. A series gets its memory when it first counts.
#[derive(Debug)]
struct Counts {
    series: Box<[OnceLock<Box<Series>>]>,
    bytes: [AtomicU64; 2],
}

/// A direction in which bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Bytes {
    /// From clients.
    Received,
    /// To clients.
    Sent,
}

impl Bytes {
    /// Counts bytes that were read or written.
    pub fn count(self, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        // Nothing is counted while the thread ends.
        let _ = OWN.try_with(|own| add(&own.0.bytes[self as usize], number));
    }

    /// Returns those of all threads.
    pub(super) fn total(self) -> u64 {
        let threads = locked(&THREADS);
        threads.all().map(|counts| counts.bytes[self as usize].load(Ordering::Relaxed)).sum()
    }
}

/// The counts of a series in all threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) results: [u64; RESULTS],
    pub(super) took: Distribution,
}

/// The counts of all threads.
struct Threads {
    running: Vec<Arc<Counts>>,
    ended: Counts,
}

impl Threads {
    fn all(&self) -> impl Iterator<Item = &Counts> {
        self.running.iter().map(|counts| &**counts).chain([&self.ended])
    }
}

static THREADS: LazyLock<Mutex<Threads>> =
    LazyLock::new(|| Mutex::new(Threads { running: Vec::new(), ended: Counts::new() }));

/// The counts of this thread, until it ends.
struct Own(Arc<Counts>);

thread_local! {
    static OWN: Own = Own::begun();
}

/// Counts a command that took this long in its series, and in that of its client.
pub(in crate::telemetry) fn count(command: u16, client: Option<u16>, code: Option<Code>, took: Duration) {
    let (result, nanos) = (result(code), nanos(took));
    // Nothing is counted while the thread ends.
    let _ = OWN.try_with(|own| {
        own.0.count(command, result, nanos);
        if let Some(client) = client {
            own.0.count(client, result, nanos);
        }
    });
}

impl Own {
    fn begun() -> Self {
        let own = Arc::new(Counts::new());
        locked(&THREADS).running.push(Arc::clone(&own));
        Self(own)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut threads = locked(&THREADS);
        threads.running.retain(|counts| !Arc::ptr_eq(counts, &self.0));
        threads.ended.add(&self.0);
    }
}

impl Counts {
    fn new() -> Self {
        Self { series: (0..NUMBERS).map(|_| OnceLock::new()).collect(), bytes: Default::default() }
    }

    fn count(&self, number: u16, result: usize, nanos: u64) {
        let Some(series) = self.series.get(usize::from(number)) else { return };
        let series = series.get_or_init(Box::default);
        for (count, more) in
            [(&series.results[result], 1), (&series.buckets[bucket(nanos)], 1), (&series.sum_nanos, nanos)]
        {
            add(count, more);
        }
    }

    fn add(&self, other: &Self) {
        for (own, other) in self.bytes.iter().zip(&other.bytes) {
            add(own, other.load(Ordering::Relaxed));
        }
        for (own, other) in self.series.iter().zip(&other.series) {
            let Some(other) = other.get() else { continue };
            let own = own.get_or_init(Box::default);
            own.all().zip(other.all()).for_each(|(own, other)| add(own, other.load(Ordering::Relaxed)));
        }
    }

    fn add_to(&self, number: u16, total: &mut Total) {
        let Some(series) = self.series.get(usize::from(number)).and_then(OnceLock::get) else { return };
        let more = |sum: &mut u64, count: &AtomicU64| *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
        total.results.iter_mut().zip(&series.results).for_each(|(sum, count)| more(sum, count));
        total.took.buckets.iter_mut().zip(&series.buckets).for_each(|(sum, count)| more(sum, count));
        more(&mut total.took.sum_nanos, &series.sum_nanos);
    }

    fn reset(&self, number: u16) {
        let series = self.series.get(usize::from(number)).and_then(OnceLock::get);
        series
            .into_iter()
            .flat_map(|series| series.all())
            .for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

impl Series {
    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.results.iter().chain(&self.buckets).chain([&self.sum_nanos])
    }
}

/// Adds to a counter that only this thread writes.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Returns the counts of these series.
pub(super) fn totals(numbers: impl Iterator<Item = u16>) -> Vec<Total> {
    let threads = locked(&THREADS);
    let total = |number| {
        let mut total = Total::default();
        threads.all().for_each(|counts| counts.add_to(number, &mut total));
        total
    };
    numbers.map(total).collect()
}

/// Sets the counts of a series to zero. Nothing may count in it any more: a thread could overwrite this.
pub(super) fn reset(number: u16) {
    let threads = locked(&THREADS);
    threads.all().for_each(|counts| counts.reset(number));
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// No other test counts in these.
    const OWN: [u16; 2] = [NUMBERS - 11, NUMBERS - 12];

    fn read(number: u16) -> Total {
        totals([number].into_iter()).remove(0)
    }

    #[test]
    fn counts_of_all_threads_add_up_and_outlive_them() {
        let [number, _] = OWN;
        let counted = Barrier::new(5);
        let running = || locked(&THREADS).running.len();
        let before = running();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| count(number, None, None, Duration::from_nanos(7)));
                    count(number, None, Some(Code::Busy), Duration::from_secs(100));
                    counted.wait();
                    counted.wait();
                });
            }
            counted.wait();
            assert!(running() >= before.max(4));
            assert_eq!(read(number).results[0], 4000);
            counted.wait();
        });
        let total = read(number);
        assert_eq!((total.results[0], total.results[result(Some(Code::Busy))]), (4000, 4));
        assert_eq!((total.took.buckets[0], total.took.buckets[BUCKETS - 1]), (4000, 4));
        assert_eq!((total.took.count(), total.took.sum_nanos), (4004, 28_000 + 400_000_000_000));
        // A thousand threads leave no more behind than one.
        for _ in 0..50 {
            thread::spawn(move || count(number, None, None, Duration::from_nanos(1))).join().unwrap();
        }
        assert_eq!(read(number).results[0], 4050);
        reset(number);
        assert_eq!(read(number), Total::default());
    }

    #[test]
    fn a_series_that_is_reset_leaves_the_others() {
        let [other, number] = OWN;
        thread::spawn(move || count(other, Some(number), Some(Code::Timeout), Duration::ZERO))
            .join()
            .unwrap();
        reset(other);
        assert_eq!(read(number).results[result(Some(Code::Timeout))], 1);
        let before = Bytes::Sent.total();
        thread::spawn(|| Bytes::Sent.count(7)).join().unwrap();
        assert!(Bytes::Sent.total() >= before + 7);
        assert_eq!(read(other), Total::default());
        count(NUMBERS, None, None, Duration::ZERO);
    }
}
