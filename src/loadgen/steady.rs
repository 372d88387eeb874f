//! A steady load: opens the connections, runs them, and watches the time.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::connect::{joined, open_all};
use super::conversation::{Conversation, Timing};
use super::course::Course;
use super::driver::Driver;
use super::schedule::Schedule;
use super::tally::{INTERVAL, Tally, Window};
use super::{LoadError, OnProgress, Pace, Peer, Plan, Report, pacer};

/// The time after the measured part in which its requests may still be answered.
const GRACE: Duration = Duration::from_secs(1);

/// Bounded because each slot has a copy of the request.
const MAX_IN_FLIGHT: usize = 65_536;

/// More than a network carries; the interval is still above a nanosecond.
const MAX_PER_SECOND: f64 = 1e8;

/// Bounded because the count of each tenth of a second is kept.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a steady load.
///
/// Calls `on_progress` about ten times a second. A failed request is counted, and does not end the load.
///
/// # Errors
/// The plan is invalid, a connection can't be opened or is lost, or the bytes received are not a valid reply.
pub async fn run(peer: &Peer, plan: &Plan, on_progress: OnProgress<'_>) -> Result<Report, LoadError> {
    plan.check()?;
    let requests = peer.dialect.requests(plan.in_flight).map_err(LoadError::Request)?;
    let requests: Arc<[Vec<u8>]> = requests.into();
    let streams = open_all(peer, plan.connections).await?;
    let tally = Tally::new(Window::new(plan.warm_up, plan.time))?;
    let course = Arc::new(Course::begin(tally, plan.connections));
    let schedule = match plan.pace {
        Pace::Closed => None,
        Pace::Open { per_second } => Some(Schedule::new(per_second, plan.connections)),
    };
    let mut drivers = JoinSet::new();
    for (connection, stream) in streams.into_iter().enumerate() {
        let timing = schedule.map_or(Timing::Closed, |schedule| Timing::Open(schedule.turns(connection)));
        let conversation = Conversation::new(Arc::clone(&peer.dialect), Arc::clone(&requests), timing);
        drivers.spawn(Driver::new(stream, conversation, Arc::clone(&course), connection).run());
    }
    let mut pacing = JoinSet::new();
    if let Some(schedule) = schedule {
        pacing.spawn(pacer::pace(Arc::clone(&course), schedule, *plan));
    }
    let cpu = watch(&course, &mut drivers, &mut pacing, on_progress).await?;
    drop(drivers);
    let tally = course.take_tally()?;
    Ok(match schedule {
        None => Report::closed(tally, plan.connections * plan.in_flight, cpu),
        Some(schedule) => {
            let Window { begin, end } = tally.window;
            // A load ended in its warm-up has its end before its begin.
            let requests = schedule.first_from(end).saturating_sub(schedule.first_from(begin));
            Report::open(tally, requests, cpu)
        }
    })
}

impl Plan {
    /// Checks the plan before any connection is opened.
    ///
    /// # Errors
    /// The plan is invalid; the message says what is allowed.
    pub fn check(&self) -> Result<(), LoadError> {
        if self.in_flight == 0 || self.in_flight > MAX_IN_FLIGHT {
            return Err(LoadError::Plan(
                "this number of requests in flight makes no load: take 1 or more, up to 65536",
            ));
        }
        if let Pace::Open { per_second } = self.pace
            && !(per_second > 0.0 && per_second <= MAX_PER_SECOND)
        {
            return Err(LoadError::Plan("a rate is a number above zero, up to 100 million a second"));
        }
        check(self.connections, self.warm_up, self.time)
    }
}

/// Checks the parameters common to all loads.
pub(super) fn check(connections: usize, warm_up: Duration, time: Duration) -> Result<(), LoadError> {
    if connections == 0 {
        Err(LoadError::Plan("no connections make no load: take 1 or more"))
    } else if time.is_zero() {
        Err(LoadError::Plan("a load needs some time to be measured, such as ten seconds"))
    } else if time.max(warm_up) > MAX_TIME {
        Err(LoadError::Plan("a load is measured for a day at most"))
    } else {
        Ok(())
    }
}

/// Waits for the end, or causes it; returns the CPU time of the measured part.
pub(super) async fn watch(
    course: &Course,
    drivers: &mut JoinSet<Result<(), LoadError>>,
    pacing: &mut JoinSet<Result<(), LoadError>>,
    on_progress: OnProgress<'_>,
) -> Result<Duration, LoadError> {
    let mut window = course.tally().window;
    let at = |time| Instant::from_std(course.began() + Duration::from_nanos(time));
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut cpu_before, mut cpu) = (None, None);
    loop {
        tokio::select! {
            biased;
            () = sleep_until(at(window.begin)), if cpu_before.is_none() => cpu_before = Some(thread_cpu()),
            () = sleep_until(at(window.end)), if cpu.is_none() => {
                cpu = Some(thread_cpu().saturating_sub(cpu_before.unwrap_or_else(thread_cpu)));
                // Connections of an open loop may sleep until a request that is now never due.
                course.wake_all();
            }
            // Drivers still running have unanswered requests.
            () = sleep_until(at(window.end) + GRACE), if cpu.is_some() => break,
            Some(done) = pacing.join_next() => joined(done)?,
            done = drivers.join_next() => match done {
                Some(done) => joined(done)?,
                None => break,
            },
            _ = ticks.tick(), if cpu.is_none() => {
                if on_progress(course.progress()).is_break() {
                    window = course.end_now();
                }
            }
        }
    }
    Ok(cpu.unwrap_or_default())
}

/// The CPU time of this thread.
pub(super) fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
