//! Runs calls whose reply is a stream.

use std::pin::pin;
use std::sync::Arc;

use tokio_util::sync::ReusableBoxFuture;

use super::deadline::stream_in_time;
use super::executor::{Ended, Held, Pending};
use super::outcome;
use crate::plugin::call::{Call, Reply};
use crate::plugin::dumps;
use crate::plugin::load::Plugin;
use crate::plugin::slots::ClientLimit;
use crate::plugin::stream::{Outlet, Streaming};
use crate::plugin::warm::Warm;

/// Runs `call` in a fresh instance of `plugin`. Its parts go into `outlet`; its reply is empty, or the failure with
/// which the stream ends.
pub fn run_streaming(
    limit: Option<ClientLimit>,
    plugin: &Arc<Plugin>,
    call: Arc<Call>,
    outlet: Outlet,
) -> Pending {
    plugin.offload(ReusableBoxFuture::new(run(Held::new(limit), Arc::clone(plugin), call, outlet)))
}

async fn run(mut held: Held, plugin: Arc<Plugin>, call: Arc<Call>, outlet: Outlet) -> Ended {
    call.mark_streaming();
    let reply = match held.acquire(&plugin, call.deadline).await {
        // Boxed, as in `executor`.
        Ok(_limit) => Box::pin(run_in(&plugin, &call, outlet)).await,
        Err(error) => Err(error),
    };
    Ended { reply, held }
}

async fn run_in(plugin: &Arc<Plugin>, call: &Arc<Call>, outlet: Outlet) -> Reply {
    let streaming = Streaming::begun(plugin.timeout());
    let progress = Arc::clone(&streaming.progress);
    let running = pin!(stream(plugin, call, streaming, outlet));
    stream_in_time(plugin, call, &progress, running).await
}

async fn stream(plugin: &Arc<Plugin>, call: &Arc<Call>, streaming: Streaming, outlet: Outlet) -> Reply {
    plugin.pace().begin().await;
    let fresh = plugin.instantiate().await;
    let mut instance = fresh.map_err(|error| outcome::not_started(plugin, call, &error))?;
    match instance.stream(call, streaming, outlet.clone()).await {
        Ok(Ok(())) => Ok(Vec::new()),
        Ok(Err(failure)) => Err(outcome::failed(failure)),
        Err(error) => {
            let told = outcome::broken(plugin, call, &error, Some(instance.state()));
            // The client is answered while its core dump is written.
            outlet.close();
            dumps::keep(plugin, call, Warm::new(instance, None), error);
            Err(told)
        }
    }
}
