//! Runs calls whose reply is a stream.

use std::pin::pin;
use std::sync::Arc;

use tokio_util::sync::ReusableBoxFuture;

use super::deadline::stream_in_time;
use super::executor::{Ended, Held, Pending};
use super::{core_dump, errors};
use crate::plugin::call::Call;
use crate::plugin::host::context::Streaming;
use crate::plugin::plugin::Plugin;
use crate::plugin::slots::ClientLimit;
use crate::plugin::stream::pipe::PipeWriter;
use crate::wire::Reply;

/// Runs `call` in a fresh instance of `plugin`. Its parts go into `writer`; its reply is empty, or the
/// failure with which the stream ends.
pub fn run_streaming(
    limit: Option<ClientLimit>,
    plugin: &Arc<Plugin>,
    call: Arc<Call>,
    writer: PipeWriter,
) -> Pending {
    plugin.offload(ReusableBoxFuture::new(run(Held::new(limit), Arc::clone(plugin), call, writer)))
}

async fn run(mut held: Held, plugin: Arc<Plugin>, call: Arc<Call>, writer: PipeWriter) -> Ended {
    call.mark_streaming();
    call.spent().mark_stream();
    let reply = match held.acquire(&plugin, &call).await {
        // Boxed, as in `executor`.
        Ok(_limit) => Box::pin(run_in(&plugin, &call, writer)).await,
        Err(error) => Err(error),
    };
    Ended { reply, held }
}

async fn run_in(plugin: &Arc<Plugin>, call: &Arc<Call>, writer: PipeWriter) -> Reply {
    let streaming = Streaming::begun(plugin.timeout());
    let progress = Arc::clone(&streaming.progress);
    let running = pin!(stream(plugin, call, streaming, writer));
    stream_in_time(plugin, call, &progress, running).await
}

async fn stream(plugin: &Arc<Plugin>, call: &Arc<Call>, streaming: Streaming, writer: PipeWriter) -> Reply {
    plugin.hint().begin().await;
    let making = call.make_instance();
    let fresh = plugin.instantiate().await;
    drop(making);
    let mut guest = fresh.map_err(|error| errors::not_started(plugin, call, &error))?;
    match guest.stream(call, streaming, writer.clone()).await {
        Ok(reply) => reply,
        Err(error) => {
            let told = errors::broke_off(plugin, call, &error, Some(guest.state()));
            // The client is answered while its core dump is written.
            writer.close();
            core_dump::keep(plugin, call, guest, error);
            Err(told)
        }
    }
}
