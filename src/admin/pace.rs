//! The pace of one listener: what bounds the computing time that its visitors take, however many they are.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Least time between two connections of a listener, and between two of its requests. Either takes a small
/// part of that to compute, so a flood leaves the processors to clients; a probe waits for milliseconds.
const BETWEEN: Duration = Duration::from_millis(1);

/// Lets one through at a time, in the order in which they come.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Interval>>);

impl Pace {
    /// Waits for this one's turn. After a pause it comes at once.
    pub(super) async fn wait(&self) {
        let mut turns = self.0.lock().await;
        // Made here, since a timer needs the runtime.
        let turns = turns.get_or_insert_with(|| {
            let mut turns = interval(BETWEEN);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            turns
        });
        turns.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_passes_at_once_and_a_crowd_at_its_pace() {
        let (pace, start) = (Pace::default(), Instant::now());
        pace.wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            pace.wait().await;
        }
        assert_eq!(start.elapsed(), 100 * BETWEEN);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..3 {
            pace.wait().await;
        }
        assert_eq!(start.elapsed(), 2 * BETWEEN, "a pause is not saved up");
    }
}
