//! A plugin's description of its commands, requested once, when it is loaded.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::timeout;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::plugin::bindings::exports::lictor::plugin::commands::CommandInfo as Described;
use crate::plugin::cpu::meter::Meter;
use crate::plugin::debug::backtrace;
use crate::plugin::host::context::HostState;
use crate::plugin::instance::linked::Purpose;
use crate::plugin::memory::refusal::MemoryRefusal;
use crate::plugin::plugin::Plugin;
use crate::plugin::spec::CommandInfo;
use crate::plugin::trap::Breakage;
use crate::text::shown;

/// Returns the plugin's commands, and the size of a fresh instance in bytes.
pub(super) async fn describe(plugin: &Plugin) -> Result<(Vec<CommandInfo>, usize), String> {
    let limit = plugin.timeout();
    let _slot = plugin.sandbox().loading().await;
    let is_made = AtomicBool::new(false);
    let mut describing = pin!(describe_itself(plugin, &is_made));
    let mut meter = Meter::new(plugin.cpu_time(), None);
    match timeout(limit, poll_fn(|cx| meter.poll(|| describing.as_mut().poll(cx)))).await {
        Ok(Ok(described)) => described,
        Ok(Err(spent)) => Err(format!(
            "{} computed for more than the plugin's cpu_time of {:?}",
            running(&is_made),
            spent.limit
        )),
        Err(_elapsed) => {
            Err(format!("{} did not return within the plugin's timeout of {limit:?}", running(&is_made)))
        }
    }
}

/// Sets `is_made` once there is an instance.
async fn describe_itself(plugin: &Plugin, is_made: &AtomicBool) -> Result<(Vec<CommandInfo>, usize), String> {
    let reason = |error: &wasmtime::Error, state: &HostState| {
        let mut words = backtrace::words(error);
        if let Some(MemoryRefusal::Server) = state.memory.refusal() {
            words = format!("{}: {words}", plugin.sandbox().loading_budget().spent());
        }
        format!("it {} ({words})", reason_of(error, state))
    };
    let unmade = |why: String| format!("it can't be instantiated: {why}");
    let mut instance = loop {
        let state = plugin.new_state(plugin.sandbox().loading_budget());
        let state = state.map_err(|spent| unmade(spent.to_string()))?;
        match plugin.guest_of(state, Purpose::Description).await {
            Ok(instance) => break instance,
            Err((error, _))
                if error.is::<PoolConcurrencyLimitError>() && plugin.sandbox().budget().give_up_oldest() => {}
            Err((error, state)) => return Err(unmade(reason(&error, &state))),
        }
    };
    is_made.store(true, Ordering::Relaxed);
    let footprint_bytes = instance.state().memory.used_bytes();
    match instance.describe().await {
        Ok(commands) => Ok((kept(commands)?, footprint_bytes)),
        Err(error) => Err(format!("its `describe` failed: {}", reason(&error, instance.state()))),
    }
}

/// Returns the cause of a failure while loading, in words for the operator.
fn reason_of(error: &wasmtime::Error, state: &HostState) -> String {
    let refusal = state.memory.refusal();
    let refusal = refusal.filter(|refusal| !error.is::<Trap>() || Breakage::may_come_of(*refusal, error));
    let Breakage { reason, advice, .. } = Breakage::of(error, refusal, state.max_reply_bytes);
    advice.map_or_else(|| reason.clone(), |advice| format!("{reason}; {advice}"))
}

/// Names the part of a plugin that runs while it is asked for its commands.
fn running(is_made: &AtomicBool) -> &'static str {
    if is_made.load(Ordering::Relaxed) { "its `describe`" } else { "its start function" }
}

/// Most bytes of a description: its texts, and some bytes for each command.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;
const COMMAND_BYTES: usize = 64;

fn kept(commands: Vec<Described>) -> Result<Vec<CommandInfo>, String> {
    let bytes = |info: &Described| COMMAND_BYTES + info.name.len() + info.summary.len() + info.usage.len();
    if commands.iter().map(bytes).sum::<usize>() > MAX_DESCRIPTION_BYTES {
        return Err(format!("its `describe` returned more than {MAX_DESCRIPTION_BYTES} bytes"));
    }
    Ok(commands.into_iter().map(CommandInfo::from).collect())
}

/// Longest texts of a description that are kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 400;

impl From<Described> for CommandInfo {
    fn from(info: Described) -> Self {
        let kept = |text: &str| shown(text, MAX_DESCRIPTION_CHARS).to_string();
        Self {
            name: kept(&info.name),
            summary: kept(&info.summary),
            usage: kept(&info.usage),
            idempotent: info.idempotent,
        }
    }
}
