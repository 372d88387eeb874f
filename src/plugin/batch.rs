//! Calls that are at hand together, carried out by one warm instance in one go.

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use tokio::time::Instant;

use super::bounds::Meter;
use super::invoke::{Call, Ended, conclude, in_time, told};
use super::load::Plugin;
use super::seat::Seat;
use super::warm::Warm;
use crate::wire::CommandError;

/// How far a batch went.
pub enum Progress<F> {
    /// As far as there are answers. Nothing runs.
    Paused(Seat),
    /// The call after those that were answered waits, or computes for longer than a tick; it ends by this future.
    RunsOn(F),
}

/// Carries out those of `calls` that end at once, in `seat`, one after the other, and begins none after `until`. Their
/// answers are put at the end of `answers`; there is none where the seat has to be waited for, or where `plugin` has no
/// warm instance that is handed more than one call, and then [`invoke()`](super::invoke()) is the way.
///
/// What is not answered and does not run on was not begun.
pub fn run_ready(
    mut seat: Seat,
    plugin: &Arc<Plugin>,
    calls: &[Arc<Call>],
    until: Instant,
    answers: &mut Vec<Result<Vec<u8>, CommandError>>,
    cx: &mut Context<'_>,
) -> Progress<impl Future<Output = Ended> + Send + 'static> {
    if plugin.pace().begins_elsewhere() {
        return Progress::Paused(seat);
    }
    let Some(mut instance) = seat.take_if_ready(plugin) else { return Progress::Paused(seat) };
    let calls = &calls[..plugin.pool().calls_left(&instance).min(calls.len())];
    let mut begun = calls.iter();
    let answered = |answer| {
        if let Some(call) = begun.next() {
            answers.push(told(plugin, call, answer));
        }
    };
    let polled = instance.poll_all(calls, until, answered, cx);
    match (polled, begun.next()) {
        (Ok(true), Some(call)) => {
            return Progress::RunsOn(go_on(seat, Arc::clone(plugin), Arc::clone(call), instance));
        }
        (Err(error), Some(call)) => answers.push(conclude(&mut seat, plugin, call, instance, Err(error))),
        (Err(_), None) => {}
        (Ok(_), _) => {
            plugin.pace().ended_at_once();
            seat.keep_instance(plugin, instance);
        }
    }
    Progress::Paused(seat)
}

/// Carries out a call to its end that was polled once.
async fn go_on(mut seat: Seat, plugin: Arc<Plugin>, call: Arc<Call>, mut instance: Warm) -> Ended {
    let meter = Meter::after_one_poll(plugin.cpu_time());
    let answer = {
        let running = pin!(async {
            let answer = instance.go_on().await;
            conclude(&mut seat, &plugin, &call, instance, answer)
        });
        in_time(&plugin, &call, meter, running).await
    };
    Ended { answer, seat }
}
