//! The engines' source of time, which a test can stop. Knows no engine.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970: expiry outlives restarts, so it can't count from the start of the process.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now_ms(&self) -> u64;
}

/// The wall clock when this process first asked, plus the time elapsed since, including time asleep.
///
/// So nothing expires early or late when somebody sets the wall clock while the server runs: an
/// `Idempotency-Key` holds for as long as was promised, and two requests under it are one. A wall clock that
/// was wrong at the start stays so, for the state, until the next start.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A time on the wall clock, and the same moment on a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    wall: Duration,
    passed: Duration,
}

/// Shared by all engines of the process, no matter when they are opened.
static ANCHOR: OnceLock<Anchor> = OnceLock::new();

impl Anchor {
    fn now() -> Self {
        // A clock set before 1970 counts as 1970: there is no older state.
        Self { wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), passed: passed() }
    }

    /// The wall-clock time at the moment `passed`.
    fn at(self, passed: Duration) -> Duration {
        self.wall.saturating_add(passed.saturating_sub(self.passed))
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let now = ANCHOR.get_or_init(Anchor::now).at(passed());
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The time since the machine's start.
fn passed() -> Duration {
    // Boottime includes the time the machine sleeps.
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_goes_on_from_the_wall_clock_at_the_start_by_what_has_passed() {
        let anchor = Anchor { wall: 1_700_000_000 * SECOND, passed: 50 * SECOND };
        assert_eq!(anchor.at(50 * SECOND), anchor.wall);
        assert_eq!(anchor.at(53 * SECOND), anchor.wall + 3 * SECOND);
        assert_eq!(anchor.at(49 * SECOND), anchor.wall, "never back");
        assert_eq!(anchor.at(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn all_clocks_of_a_process_are_one_and_begin_at_the_wall_clock() {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let (before, ours, after) = (wall(), u128::from(SystemClock.now_ms()), wall());
        // Other tests may have asked first, and the two clocks are not read at the same moment.
        assert!(before <= ours + 1_000 && ours <= after + 1_000, "{before} {ours} {after}");
        let anchor = *ANCHOR.get().unwrap();
        let earlier = SystemClock.now_ms();
        let now = u64::try_from(anchor.at(passed()).as_millis()).unwrap();
        assert!(SystemClock.now_ms() >= now && now >= earlier);
    }
}
