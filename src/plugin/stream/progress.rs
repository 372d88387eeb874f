//! The time for which a stream's client waits for its plugin.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::sync::locked;

/// The time for which a stream's client has been waiting for its plugin.
///
/// A stream may go on for days, so its plugin's timeout bounds the time from one step to the next: a part
/// that was taken, or an event that came. While the plugin is held back by a client that does not read, or
/// waits for an event, the clock stands.
#[derive(Debug)]
pub(in crate::plugin) struct Progress {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Number of steps so far.
    steps: u64,
}

/// The time since the last step.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Runs { since: Instant },
    Stands { at: Duration },
}

impl Clock {
    fn elapsed(self) -> Duration {
        match self {
            Self::Runs { since } => since.elapsed(),
            Self::Stands { at } => at,
        }
    }
}

impl Progress {
    /// Starts the clock: after `patience` without a step the stream has stalled.
    pub(in crate::plugin) fn new(patience: Duration) -> Self {
        Self { patience, state: Mutex::new(State { clock: Clock::Runs { since: Instant::now() }, steps: 0 }) }
    }

    /// Notes a step of the plugin.
    pub(in crate::plugin) fn step(&self) {
        let mut state = self.state();
        state.clock = Clock::Runs { since: Instant::now() };
        state.steps += 1;
    }

    /// Stops the clock: the plugin waits for somebody else, until its next step or until
    /// [`resume`](Self::resume).
    pub(in crate::plugin) fn pause(&self) {
        let mut state = self.state();
        state.clock = Clock::Stands { at: state.clock.elapsed() };
    }

    /// Restarts the clock after a wait without a step.
    pub(in crate::plugin) fn resume(&self) {
        let mut state = self.state();
        let (now, elapsed) = (Instant::now(), state.clock.elapsed());
        state.clock = Clock::Runs { since: now.checked_sub(elapsed).unwrap_or(now) };
    }

    /// Returns the number of steps so far.
    pub(in crate::plugin) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Returns the time at which the stream will have stalled; later, if it steps or has to wait.
    pub(in crate::plugin) fn patience_ends(&self) -> Instant {
        Instant::now() + self.patience.saturating_sub(self.state().clock.elapsed())
    }

    /// Waits for the stream to stall.
    pub(in crate::plugin) async fn stalled(&self) {
        loop {
            let ends = self.patience_ends();
            if ends <= Instant::now() {
                return;
            }
            sleep_until(ends).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stream_stalls_unless_it_goes_on_or_waits_for_others() {
        let progress = Progress::new(10 * SECOND);
        let has_stalled = || progress.stalled().now_or_never().is_some();
        advance(9 * SECOND).await;
        assert!(!has_stalled());
        progress.step();
        advance(9 * SECOND).await;
        assert!(!has_stalled());
        progress.pause();
        advance(100 * SECOND).await;
        progress.pause();
        assert!(!has_stalled());
        // The time passed before counts again.
        progress.resume();
        assert_eq!(progress.patience_ends(), Instant::now() + SECOND);
        advance(SECOND).await;
        assert!(has_stalled());
        assert_eq!(progress.steps(), 1);
    }
}
