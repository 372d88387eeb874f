//! The pace of one listener: what bounds the computing time that its visitors take, however many they are.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// Least time between two connections of a listener, and between two of its requests. Either takes a small
/// part of that to compute, so a flood leaves the processors to clients; a probe waits for milliseconds.
const BETWEEN: Duration = Duration::from_millis(1);

/// Least time between two turns, as a multiple of the first: pages that take long to compute come seldom.
const REST: u32 = 10;

/// Lets one through at a time, in the order in which they come.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

/// The turn of one. The next has to wait until it is dropped, and longer if it took long.
pub(super) struct Turn<'a> {
    next: MutexGuard<'a, Option<Instant>>,
    began: Instant,
}

impl Pace {
    /// Waits for a turn. After a pause it comes at once.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let next = self.0.lock().await;
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        Turn { next, began: Instant::now() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let rest = (self.began.elapsed() * REST).max(BETWEEN);
        *self.next = Some(self.began + rest);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_passes_at_once_and_a_crowd_at_its_pace() {
        let (pace, start) = (Pace::default(), Instant::now());
        drop(pace.turn().await);
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            drop(pace.turn().await);
        }
        assert_eq!(start.elapsed(), 100 * BETWEEN);
        advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..3 {
            drop(pace.turn().await);
        }
        assert_eq!(start.elapsed(), 2 * BETWEEN, "a pause is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_long_turn_the_next_waits_longer() {
        let pace = Pace::default();
        let turn = pace.turn().await;
        let start = Instant::now();
        advance(Duration::from_millis(20)).await;
        drop(turn);
        drop(pace.turn().await);
        assert_eq!(start.elapsed(), Duration::from_millis(200));
    }
}
