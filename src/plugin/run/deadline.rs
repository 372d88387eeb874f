//! The bounds on a call's time: its deadline, what it computes, and the silence of its stream.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{sleep_until, timeout_at};

use super::errors;
use crate::plugin::call::Call;
use crate::plugin::cpu::meter::Meter;
use crate::plugin::plugin::Plugin;
use crate::plugin::stop::Stopped;
use crate::plugin::stream::progress::Progress;
use crate::wire::Reply;

/// Runs `running`, which runs `call`, within the bounds on its time.
///
/// It was pinned where it was made: it is large, and each move of it costs a small call a tenth of its time.
pub(super) async fn in_time(
    plugin: &Plugin,
    call: &Call,
    mut meter: Meter<'_>,
    mut running: Pin<&mut impl Future<Output = Reply>>,
) -> Reply {
    let mut metered = poll_fn(|cx| meter.poll(|| running.as_mut().poll(cx)));
    // Most calls end in their first poll, which no timer can break off.
    let ended = match poll_fn(|cx| Poll::Ready(Pin::new(&mut metered).poll(cx))).await {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => {
            let mut deadline = pin!(sleep_until(call.deadline));
            // Already polled in this wake-up; polling again would resume a call that has just yielded.
            let mut was_polled = true;
            poll_fn(|cx| {
                // Checked first: a nested command shares this deadline, and would otherwise report it to the
                // plugin.
                if deadline.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if std::mem::take(&mut was_polled) {
                    return Poll::Pending;
                }
                Pin::new(&mut metered).poll(cx).map(Some)
            })
            .await
        }
    };
    plugin.hint().ended(call);
    match ended {
        Some(Ok(reply)) => reply,
        Some(Err(spent)) => stop(plugin, call, Stopped::Computed(spent), running).await,
        None => stop(plugin, call, Stopped::AtDeadline, running).await,
    }
}

/// Runs `running`, which runs the stream of `call`, within the bounds on its time.
///
/// The bounds on a call hold from each of its steps to the next; its deadline holds for the whole.
pub(super) async fn stream_in_time(
    plugin: &Plugin,
    call: &Call,
    progress: &Progress,
    mut running: Pin<&mut impl Future<Output = Reply>>,
) -> Reply {
    // Computing always has a limit: the stall timer is paused while the plugin waits for others, and
    // it may compute meanwhile.
    let counted = Some((plugin.metrics(), call.spent()));
    let mut meter = Meter::new(Some(plugin.cpu_time().unwrap_or(plugin.timeout())), counted);
    let mut steps = 0;
    let metered = poll_fn(|cx| {
        let taken = progress.steps();
        if taken != steps {
            meter.begin_step();
            steps = taken;
        }
        meter.poll(|| running.as_mut().poll(cx))
    });
    let why = tokio::select! {
        ended = timeout_at(call.deadline, metered) => match ended {
            Ok(Ok(reply)) => return reply,
            Ok(Err(spent)) if plugin.cpu_time().is_some() => Stopped::Computed(spent),
            Ok(Err(_spent)) => Stopped::Stalled,
            Err(_elapsed) => Stopped::AtDeadline,
        },
        () = progress.stalled() => Stopped::Stalled,
    };
    stop(plugin, call, why, running).await
}

async fn stop(
    plugin: &Plugin,
    call: &Call,
    why: Stopped,
    running: Pin<&mut impl Future<Output = Reply>>,
) -> Reply {
    let broken_off = break_off(call, why, running).await;
    broken_off.unwrap_or_else(|| Err(errors::stopped(plugin, call, why, None)))
}

/// Has `running`, which runs `call`, break off where it has yielded; returns its output. `None` if the call
/// was not computing: it waits, and its plugin's code is not run again.
pub(super) async fn break_off<F: Future>(
    call: &Call,
    why: Stopped,
    mut running: Pin<&mut F>,
) -> Option<F::Output> {
    if !call.stop.has_yielded() {
        return None;
    }
    call.stop.stop_for(why);
    poll_fn(|cx| {
        Poll::Ready(match running.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        })
    })
    .await
}
