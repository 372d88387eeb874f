//! Running one command whose reply is a stream.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout_at;

use super::bounds::Meter;
use super::invoke::{Call, Ended};
use super::load::Plugin;
use super::seat::Seat;
use super::stopped::{Stopped, break_off};
use super::stream::{Outlet, Streaming};
use super::warm::Warm;
use super::{dumps, failure};
use crate::wire::CommandError;

/// Runs `call` in `plugin`, in a fresh instance; its reply goes into `outlet`, and what is left to be told of it at the end
/// is an empty answer or a failure.
///
/// What bounds a call bounds this one from each of its parts to the next: the plugin's time, what it computes, what it asks
/// of the host. The call's deadline holds for all of it. Dropping the future stops the plugin and frees what the call held.
pub async fn invoke_streaming(mut seat: Seat, plugin: Arc<Plugin>, call: Arc<Call>, outlet: Outlet) -> Ended {
    call.stream();
    let answer = match seat.take(&plugin, &call).await {
        // In a box of its own, as in `invoke`.
        Ok(_turn) => Box::pin(in_time(&plugin, &call, outlet)).await,
        Err(error) => Err(error),
    };
    Ended { answer: answer.map(|()| Vec::new()), seat }
}

/// Runs `call` within the bounds on its time.
async fn in_time(plugin: &Arc<Plugin>, call: &Arc<Call>, outlet: Outlet) -> Result<(), CommandError> {
    let streaming = Streaming::begun(plugin.timeout());
    let progress = Arc::clone(&streaming.progress);
    let mut running = pin!(run(plugin, call, streaming, outlet));
    // Computing always has a limit: time stands while the plugin waits for others, and it may compute meanwhile.
    let new_meter = || Meter::new(Some(plugin.cpu_time().unwrap_or(plugin.timeout())));
    let (mut meter, mut steps) = (new_meter(), 0);
    let metered = poll_fn(|cx| {
        let taken = progress.steps();
        if taken != steps {
            (meter, steps) = (new_meter(), taken);
        }
        meter.poll(|| running.as_mut().poll(cx))
    });
    let why = tokio::select! {
        ended = timeout_at(call.deadline, metered) => match ended {
            Ok(Ok(answer)) => return answer,
            Ok(Err(spent)) if plugin.cpu_time().is_some() => Stopped::Computed(spent),
            Ok(Err(_spent)) => Stopped::Stalled,
            Err(_elapsed) => Stopped::AtDeadline,
        },
        () = progress.stalled() => Stopped::Stalled,
    };
    let broken_off = break_off(call, why, running).await;
    broken_off.unwrap_or_else(|| Err(failure::stopped(plugin, call, why, None)))
}

async fn run(
    plugin: &Arc<Plugin>,
    call: &Arc<Call>,
    streaming: Streaming,
    outlet: Outlet,
) -> Result<(), CommandError> {
    plugin.pace().begin().await;
    let fresh = plugin.instantiate().await;
    let mut instance = fresh.map_err(|error| failure::not_started(plugin, call, &error))?;
    match instance.stream(call, streaming, outlet.clone()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(CommandError::failed(failure::code(&failure.code), failure.message)),
        Err(error) => {
            let told = failure::broken(plugin, call, &error, Some(instance.state()));
            // The client is answered while its core dump is written.
            outlet.close();
            dumps::keep(plugin, call, Warm::new(instance), error);
            Err(told)
        }
    }
}
