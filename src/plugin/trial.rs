//! One call of a plugin by itself, measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::timeout_at;

use super::failure;
use super::invoke::{Call, enter};
use super::load::Plugin;
use crate::wire::CommandError;

/// What a call gave and what it cost.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the client would get.
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
}

/// Runs `call` in a fresh instance of `plugin`. On a runtime of one thread, `cpu` is that of the call alone.
///
/// # Errors
///
/// When there is no instance.
pub async fn try_out(plugin: &Plugin, call: &Arc<Call>) -> Result<Trial, CommandError> {
    let began = Instant::now();
    let _slot = plugin.sandbox().slot(call.deadline).await?;
    let mut instance = match timeout_at(call.deadline, plugin.instantiate()).await {
        Ok(instance) => instance.map_err(|error| failure::not_started(plugin, call, &error))?,
        Err(_elapsed) => return Err(failure::timed_out(plugin, call)),
    };
    let instantiation = began.elapsed();
    let (began, cpu_began) = (Instant::now(), thread_cpu());
    let answer = match timeout_at(call.deadline, enter(plugin, call, &mut instance)).await {
        Ok(entered) => entered.and_then(|answer| answer),
        Err(_elapsed) => Err(failure::timed_out(plugin, call)),
    };
    let cpu = thread_cpu().saturating_sub(cpu_began);
    let wall = began.elapsed();
    let state = instance.state();
    let (memory_bytes, host_calls) = (state.memory.used_bytes(), state.volume.calls());
    Ok(Trial { answer, instantiation, wall, cpu, memory_bytes, host_calls })
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
