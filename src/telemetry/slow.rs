//! The slow log: the requests that took most since the start, by each measure.
//!
//! Bounded, and cheap for all others: a request that takes less than the least that is kept costs one
//! comparison for each measure, with a number that is rarely written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::ended::Ended;
use super::spent::Spent;
use crate::sync::locked;

/// A measure of what a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Time from its arrival to its encoded reply. Streams are left out: they last as long as clients like.
    Wall,
    /// Time in the queue.
    Queue,
    /// Processor time.
    Cpu,
    /// Memory of its instance.
    Memory,
    /// Bytes of its result.
    Reply,
}

impl Measure {
    /// All measures, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Wall, Self::Queue, Self::Cpu, Self::Memory, Self::Reply];

    /// Its name in commands and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Queue => "queue",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Reply => "reply",
        }
    }
}

/// The slow log of this process.
pub static SLOW_LOG: SlowLog = SlowLog::new();

/// The requests that took most.
#[derive(Debug)]
pub struct SlowLog {
    measures: [Worst; Measure::ALL.len()],
    reset: Mutex<Option<SystemTime>>,
}

/// The requests that took most by one measure.
#[derive(Debug)]
struct Worst {
    /// The least amount that is kept, once there is no room for more. Requests that took no more are not.
    least: AtomicU64,
    /// Amounts, the largest first, and their requests.
    kept: Mutex<Vec<(u64, Arc<Ended>)>>,
}

impl SlowLog {
    /// Most requests kept by each measure.
    pub const MOST: usize = 32;

    const fn new() -> Self {
        Self { measures: [const { Worst::new() }; Measure::ALL.len()], reset: Mutex::new(None) }
    }

    /// Keeps a request that took this long, with a result of `reply_bytes`, if it is among the worst by any
    /// measure; `ended` describes it.
    pub(super) fn offer(
        &self,
        took: Duration,
        reply_bytes: usize,
        spent: &Spent,
        ended: impl FnOnce() -> Ended,
    ) {
        let amounts = [
            if spent.is_stream() { 0 } else { nanos(took) },
            nanos(spent.waited()),
            nanos(spent.computed()),
            spent.memory_bytes(),
            u64::try_from(reply_bytes).unwrap_or(u64::MAX),
        ];
        let is_among = |(worst, amount): (&Worst, u64)| amount > worst.least.load(Ordering::Relaxed);
        if self.measures.iter().zip(amounts).any(is_among) {
            self.keep(amounts, ended());
        }
    }

    #[cold]
    fn keep(&self, amounts: [u64; Measure::ALL.len()], ended: Ended) {
        let ended = Arc::new(ended);
        self.measures.iter().zip(amounts).for_each(|(worst, amount)| worst.keep(amount, &ended));
    }

    /// Returns the worst requests by `measure`, the worst first.
    #[must_use]
    pub fn worst(&self, measure: Measure) -> Vec<Arc<Ended>> {
        let kept = locked(&self.measures[measure as usize].kept);
        kept.iter().map(|(_, ended)| Arc::clone(ended)).collect()
    }

    /// Forgets all requests.
    pub fn reset(&self) {
        *locked(&self.reset) = Some(SystemTime::now());
        for worst in &self.measures {
            let mut kept = locked(&worst.kept);
            kept.clear();
            worst.least.store(0, Ordering::Relaxed);
        }
    }

    /// The time of the last reset, if there was one.
    #[must_use]
    pub fn last_reset(&self) -> Option<SystemTime> {
        *locked(&self.reset)
    }
}

impl Worst {
    const fn new() -> Self {
        Self { least: AtomicU64::new(0), kept: Mutex::new(Vec::new()) }
    }

    fn keep(&self, amount: u64, ended: &Arc<Ended>) {
        let mut kept = locked(&self.kept);
        // Under the lock, since others may have raised it meanwhile.
        if amount <= self.least.load(Ordering::Relaxed) {
            return;
        }
        let place = kept.partition_point(|(of_kept, _)| *of_kept >= amount);
        kept.insert(place, (amount, Arc::clone(ended)));
        kept.truncate(SlowLog::MOST);
        if kept.len() == SlowLog::MOST
            && let Some((least, _)) = kept.last()
        {
            self.least.store(*least, Ordering::Relaxed);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{ConnectionId, RequestId};

    fn ended(number: u64, took: Duration, reply_bytes: usize) -> Ended {
        Ended {
            at: SystemTime::UNIX_EPOCH,
            id: RequestId { connection: ConnectionId(1), number },
            client: "a".into(),
            command: "echo".to_owned(),
            plugin: "echo".into(),
            via: None,
            arguments: None,
            failure: None,
            request_bytes: 1,
            reply_bytes,
            took,
            waited: Duration::ZERO,
            computed: Duration::ZERO,
            memory_bytes: 0,
        }
    }

    proptest! {
        /// Whatever comes, in whatever order, the worst by each measure are kept, and no more.
        #[test]
        fn the_worst_are_kept(requests in prop::collection::vec((0_u64..100, 0_usize..100), 0..200)) {
            let log = SlowLog::new();
            for (number, (micros, bytes)) in (1..).zip(&requests) {
                let took = Duration::from_micros(*micros);
                log.offer(took, *bytes, &Spent::default(), || ended(number, took, *bytes));
            }
            let mut by_time: Vec<_> = requests.iter().map(|(micros, _)| *micros).filter(|it| *it > 0).collect();
            let mut by_bytes: Vec<_> = requests.iter().map(|(_, bytes)| *bytes).filter(|it| *it > 0).collect();
            by_time.sort_unstable_by(|a, b| b.cmp(a));
            by_bytes.sort_unstable_by(|a, b| b.cmp(a));
            by_time.truncate(SlowLog::MOST);
            by_bytes.truncate(SlowLog::MOST);
            let micros = |ended: &Arc<Ended>| u64::try_from(ended.took.as_micros()).unwrap();
            prop_assert_eq!(log.worst(Measure::Wall).iter().map(micros).collect::<Vec<_>>(), by_time);
            let bytes = log.worst(Measure::Reply).iter().map(|ended| ended.reply_bytes).collect::<Vec<_>>();
            prop_assert_eq!(bytes, by_bytes);
            prop_assert!(log.worst(Measure::Queue).is_empty());
            log.reset();
            prop_assert!(Measure::ALL.iter().all(|measure| log.worst(*measure).is_empty()));
        }
    }

    #[test]
    fn a_request_that_took_less_is_not_even_described() {
        let log = SlowLog::new();
        let offer = |micros, spent: &Spent| {
            let mut is_described = false;
            let took = Duration::from_micros(micros);
            log.offer(took, 0, spent, || {
                is_described = true;
                ended(1, took, 0)
            });
            is_described
        };
        assert!((0..SlowLog::MOST).all(|_| offer(10, &Spent::default())));
        assert!(!offer(10, &Spent::default()) && offer(11, &Spent::default()));
        let stream = Spent::default();
        stream.mark_stream();
        assert!(!offer(1_000_000, &stream));
        stream.add_waited(Duration::from_nanos(1));
        stream.add_computed(Duration::from_nanos(1));
        stream.note_memory(1);
        assert!(offer(0, &stream));
        for measure in [Measure::Queue, Measure::Cpu, Measure::Memory] {
            assert_eq!(log.worst(measure).len(), 1);
        }
        log.reset();
        assert!(offer(1, &Spent::default()));
    }

    #[test]
    fn each_measure_has_a_place_of_its_own() {
        for (place, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure as usize, place);
        }
    }
}
