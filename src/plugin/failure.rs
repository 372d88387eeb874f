//! What went wrong in a plugin: in plain words for the client, in full for the log.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::backtrace::{says, words};
use super::bounds::BudgetSpent;
use super::bounds::CpuSpent;
use super::bounds::MemoryRefusal;
use super::host::{MAX_HANDLES, VolumeSpent};
use super::instance::HostState;
use super::invoke::Call;
use super::load::Plugin;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::watermark;
use crate::wire::{Code, CommandError};

/// wasmtime has no type for this error, only these words; a test with a plugin that returns too much keeps them
/// true.
const HOST_CALL_FUEL_TEXTS: [&str; 1] = ["too much data is being copied between the host and the guest: \
                                         fuel allocated for hostcalls has been exhausted"];

/// The same for handles of which there are too many.
const HANDLES_TEXTS: [&str; 2] = [
    "cannot allocate another handle: store handle limit exceeded",
    "cannot lend resource: store handle limit exceeded",
];

/// The wire's code for the one that a plugin gave.
pub(super) fn code(of_plugin: &str) -> Code {
    match of_plugin {
        "bad-arguments" => Code::BadArguments,
        "not-found" => Code::NotFound,
        "conflict" => Code::Conflict,
        "denied" => Code::Denied,
        "unavailable" => Code::Unavailable,
        _ => Code::PluginFailed,
    }
}

/// The call went on past its deadline and was stopped.
pub(super) fn timed_out(plugin: &Plugin, call: &Call) -> CommandError {
    Counter::CallsTimedOut.count();
    tracing::warn!(target: "lictor::plugin", plugin = plugin.name(), client = call.caller.name(), request = %call.id,
        "stopped at the deadline");
    let name = plugin.name();
    CommandError {
        code: Code::Timeout,
        outcome: call.outcome_if_stopped(),
        message: format!("Plugin {name} was stopped at the deadline (request {})", call.id).into(),
    }
}

/// Nothing came of the call's stream for too long, and it was stopped.
pub(super) fn stalled(plugin: &Plugin, call: &Call) -> CommandError {
    let (name, timeout) = (plugin.name(), plugin.timeout());
    Counter::CallsTimedOut.count();
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, ?timeout, "stopped: its stream stalled");
    CommandError {
        code: Code::Timeout,
        outcome: call.outcome_if_stopped(),
        message: format!("Plugin {name} sent nothing for {timeout:?} and was stopped (request {})", call.id)
            .into(),
    }
}

/// The call computed for longer than it may and was stopped.
pub(super) fn computed_too_long(plugin: &Plugin, call: &Call, spent: CpuSpent) -> CommandError {
    let (name, used_ms) = (plugin.name(), u64::try_from(spent.used.as_millis()).unwrap_or(u64::MAX));
    Counter::CpuTimeUsedUp.count();
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, used_ms, "stopped: computed for too long");
    CommandError {
        code: Code::PluginLimit,
        outcome: call.outcome_if_stopped(),
        message: format!("Plugin {name} computed for more than its {:?} (request {})", spent.limit, call.id)
            .into(),
    }
}

/// No instance could be made. The plugin was instantiated when it was loaded, so this is the pool or the memory of
/// the machine.
pub(super) fn not_started(plugin: &Plugin, call: &Call, error: &wasmtime::Error) -> CommandError {
    let name = plugin.name();
    tracing::error!(
        name: LASTING, target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id,
        error = words(error), "no instance"
    );
    if error.is::<PoolConcurrencyLimitError>() {
        return CommandError::not_run(Code::Busy, "No instance is free; try again later");
    }
    let spent = match error.downcast_ref::<BudgetSpent>() {
        Some(BudgetSpent::Process) => Some(watermark::IS_SHORT),
        Some(BudgetSpent::Plugins { .. }) => {
            Some("The server's memory for plugins is used up; try again later")
        }
        None => None,
    };
    if let Some(words) = spent {
        return CommandError::not_run(Code::Busy, words);
    }
    CommandError::unknown(
        Code::PluginTrapped,
        format!("Plugin {name} could not be started (request {})", call.id),
    )
}

/// The call ended in the middle: a trap, a limit, or a breach of the interface.
pub(super) fn broken(
    plugin: &Plugin,
    call: &Call,
    error: &wasmtime::Error,
    state: Option<&HostState>,
) -> CommandError {
    let name = plugin.name();
    let (code, reason) = classify(error, state, plugin.max_reply_bytes());
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, reason, error = words(error), "plugin broke off");
    CommandError::unknown(code, format!("Plugin {name} {reason} (request {})", call.id))
}

/// The reply came whole but is longer than allowed.
pub(super) fn reply_too_large(plugin: &Plugin, call: &Call) -> CommandError {
    let (name, max) = (plugin.name(), plugin.max_reply_bytes());
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, max_bytes = max, "reply too large");
    too_large(name, max, call)
}

fn too_large(name: &str, max: usize, call: &Call) -> CommandError {
    Counter::RepliesTooLarge.count();
    CommandError::unknown(
        Code::PluginLimit,
        format!("Plugin {name} returned more than its {max} bytes (request {})", call.id),
    )
}

/// A failure while loading, in words for the operator.
pub(super) fn reason(error: &wasmtime::Error, state: &HostState, max_reply_bytes: usize) -> String {
    classify(error, Some(state), max_reply_bytes).1
}

fn classify(error: &wasmtime::Error, state: Option<&HostState>, max_reply_bytes: usize) -> (Code, String) {
    match state.and_then(|state| state.memory.refusal()) {
        Some(MemoryRefusal::Own(max)) => {
            return (Code::PluginLimit, format!("needed more than its {max} bytes of memory"));
        }
        Some(MemoryRefusal::Table(max)) => {
            return (Code::PluginLimit, format!("needed more than {max} elements in a table"));
        }
        Some(MemoryRefusal::Held(max)) => {
            return (
                Code::PluginLimit,
                format!(
                    "needed more than its {max} bytes of memory, with what the host holds for its handles"
                ),
            );
        }
        Some(MemoryRefusal::Server) => {
            return (Code::Busy, "needed more memory than the server has left for plugins".into());
        }
        None => {}
    }
    if let Some(spent) = error.downcast_ref::<VolumeSpent>() {
        return (Code::PluginLimit, spent.to_string());
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || says(error, &HANDLES_TEXTS)
    {
        Counter::HandlesUsedUp.count();
        return (Code::PluginLimit, format!("held more than its {MAX_HANDLES} handles"));
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return (Code::PluginTrapped, format!("exited with status {}", exit.0));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => (Code::PluginTrapped, "trapped: its call stack is exhausted".into()),
        Some(trap) => {
            let words = trap.to_string();
            (Code::PluginTrapped, format!("trapped: {}", words.trim_start_matches("wasm trap: ")))
        }
        None if says(error, &HOST_CALL_FUEL_TEXTS) => {
            Counter::RepliesTooLarge.count();
            (Code::PluginLimit, format!("returned more than its {max_reply_bytes} bytes"))
        }
        None => (Code::PluginTrapped, "broke the component interface".into()),
    }
}
