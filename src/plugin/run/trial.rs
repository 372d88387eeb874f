//! A call of a plugin without a server, measured.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::deadline::break_off;
use super::errors;
use crate::plugin::call::Call;
use crate::plugin::cpu::meter::thread_cpu;
use crate::plugin::host::context::Streaming;
use crate::plugin::instance::guest::Guest;
use crate::plugin::plugin::Plugin;
use crate::plugin::stop::Stopped;
use crate::plugin::stream::pipe::{Parts, pipe};
use crate::wire::{CommandError, Reply};

/// The reply to a call, and its cost.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The reply; that of a stream follows its parts.
    pub answer: Result<Vec<u8>, CommandError>,
    /// Time to make the instance.
    pub instantiation: Duration,
    /// Time of the call itself, waiting in the host included.
    pub wall: Duration,
    /// Time that it computed.
    pub cpu: Duration,
    /// Bytes of the instance's memories and tables at the end; they never shrink.
    pub memory_bytes: usize,
    /// Operations on what it was granted: stores, files, the network, other commands.
    pub host_calls: u64,
    /// The core dump of a call that trapped, if the sandbox hands core dumps over.
    pub core_dump: Option<Vec<u8>>,
}

/// Runs `call` in a fresh instance of `plugin`; `part` is given each part of a stream. On a runtime of one
/// thread, `cpu` is that of the call, and of `part`, alone.
///
/// # Errors
///
/// When there is no instance.
pub async fn try_out(
    plugin: &Plugin,
    call: &Arc<Call>,
    part: &mut dyn FnMut(&[u8]),
) -> Result<Trial, CommandError> {
    let began = Instant::now();
    let _slot = plugin.slots().acquire(call.deadline).await?;
    let mut guest = match timeout_at(call.deadline, plugin.instantiate()).await {
        Ok(guest) => guest.map_err(|error| errors::not_started(plugin, call, &error))?,
        Err(_elapsed) => return Err(errors::stopped(plugin, call, Stopped::AtDeadline, None)),
    };
    let instantiation = began.elapsed();
    let (began, cpu_began) = (Instant::now(), thread_cpu());
    let handled = {
        let mut handling = pin!(handle(plugin, &mut guest, call, part));
        match timeout_at(call.deadline, handling.as_mut()).await {
            Ok(handled) => Some(handled),
            Err(_elapsed) => break_off(call, Stopped::AtDeadline, handling).await,
        }
    };
    let cpu = thread_cpu().saturating_sub(cpu_began);
    let wall = began.elapsed();
    let state = guest.state();
    let (memory_bytes, host_calls) = (state.memory.used_bytes(), state.volume.calls());
    let (answer, core_dump) = match handled {
        Some(Ok(answer)) => (answer, None),
        Some(Err(error)) => {
            let told = errors::broke_off(plugin, call, &error, Some(state));
            (Err(told), guest.into_core_dump(&error, plugin.name(), plugin.places()))
        }
        None => (Err(errors::stopped(plugin, call, Stopped::AtDeadline, None)), None),
    };
    Ok(Trial { answer, instantiation, wall, cpu, memory_bytes, host_calls, core_dump })
}

/// The reply; of a stream each part as it comes, and then nothing.
async fn handle(
    plugin: &Plugin,
    guest: &mut Guest,
    call: &Arc<Call>,
    part: &mut dyn FnMut(&[u8]),
) -> wasmtime::Result<Reply> {
    if !plugin.is_streaming() {
        return guest.handle(call).await;
    }
    let (writer, parts) = pipe();
    let streaming = Streaming::begun(plugin.timeout());
    let streamed = async {
        let answer = guest.stream(call, streaming, writer.clone()).await;
        writer.close();
        answer
    };
    let (answer, ()) = tokio::join!(streamed, each(parts, part));
    answer
}

async fn each(mut parts: Parts, take: &mut dyn FnMut(&[u8])) {
    while let Some(part) = poll_fn(|cx| parts.poll_next(cx)).await {
        take(&part);
    }
}
