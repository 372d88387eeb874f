//! Errors of calls that end without an answer of the plugin: words for the client, details for the log.

use wasmtime::{PoolConcurrencyLimitError, Trap};

use crate::plugin::call::Call;
use crate::plugin::cpu::meter::CpuSpent;
use crate::plugin::debug::backtrace::{authors_place, names_functions, words, words_with};
use crate::plugin::host::context::HostState;
use crate::plugin::memory::budget::BudgetSpent;
use crate::plugin::memory::refusal::RAISE_PLUGIN_MEMORY;
use crate::plugin::plugin::Plugin;
use crate::plugin::stop::{DeadlineOf, Stopped};
use crate::plugin::trap::Breakage;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::watermark;
use crate::wire::{Code, CommandError, Outcome};

const RAISE_TIMEOUT: &str = "raise `timeout` of the plugin, or `--timeout` of the command line";

const RAISE_CPU_TIME: &str = "raise `cpu_time` of the plugin";

const RAISE_CONCURRENCY: &str =
    "raise `concurrent_commands` of [limits], or lower `concurrency` of the plugins that run longest";

/// Logs that the call was stopped, and returns the error for its client. `error` is given if it broke off
/// while it computed.
pub(super) fn stopped(
    plugin: &Plugin,
    call: &Call,
    why: Stopped,
    error: Option<&wasmtime::Error>,
) -> CommandError {
    let (name, client, request, command) =
        (plugin.name(), call.caller.name(), call.id(), call.request().command());
    let doing = doing(call, error);
    let places = plugin.places();
    let at = error.and_then(|error| authors_place(error, places));
    let error = error.filter(|error| names_functions(error)).map(|error| words_with(error, places));
    let (code, told) = match why {
        Stopped::AtDeadline => {
            Counter::CallsTimedOut.count();
            let (deadline, advice) = deadline(plugin, call);
            tracing::warn!(target: "lictor::plugin", plugin = name, client, %request, command, deadline, advice, doing, at, error, "stopped at the deadline");
            (Code::Timeout, "was stopped at the deadline".to_owned())
        }
        Stopped::Stalled => {
            let timeout = plugin.timeout();
            Counter::CallsTimedOut.count();
            tracing::warn!(target: "lictor::plugin", plugin = name, client, %request, command, ?timeout, advice = RAISE_TIMEOUT, doing, at, error, "stopped: its stream stalled");
            (Code::Timeout, format!("sent nothing for {timeout:?} and was stopped"))
        }
        Stopped::Computed(CpuSpent { used, limit }) => {
            let used_ms = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
            Counter::CpuTimeUsedUp.count();
            tracing::warn!(target: "lictor::plugin", plugin = name, client, %request, command, used_ms, cpu_time = ?limit, advice = RAISE_CPU_TIME, doing, at, error, "stopped: computed for too long");
            (Code::PluginLimit, format!("computed for more than its {limit:?}"))
        }
    };
    CommandError {
        code,
        outcome: call.outcome_if_stopped(),
        message: format!("Plugin {name} {told} (request {request})").into(),
    }
}

/// Describes the activity of a stopped call.
fn doing(call: &Call, error: Option<&wasmtime::Error>) -> &'static str {
    match (error, call.outcome_if_stopped()) {
        (Some(_), _) => "it computed",
        (None, Outcome::NotRun) => "it had not begun",
        (None, _) => "it waited for the host",
    }
}

/// Describes the deadline of `call`, and how to get a longer one.
fn deadline(plugin: &Plugin, call: &Call) -> (String, &'static str) {
    match (call.stop.deadline_of, call.request().timeout_ms()) {
        (DeadlineOf::Client, Some(timeout_ms)) => (
            format!("its client's Timeout-Ms of {timeout_ms}"),
            "have the client send a longer `Timeout-Ms`, or none: `--timeout` of `lictor call`, `timeout` in a script",
        ),
        (DeadlineOf::Parent, _) => (
            "that of the command that runs it".into(),
            "raise `timeout` of the plugin that runs it, or have its client send a longer `Timeout-Ms`",
        ),
        (DeadlineOf::Client | DeadlineOf::Plugin, _) => {
            (format!("its plugin's timeout of {:?}", plugin.timeout()), RAISE_TIMEOUT)
        }
    }
}

/// Logs that no instance could be made, and returns the error for the client. The plugin was instantiated
/// when it was loaded, so the cause is the pool or the machine's memory.
pub(super) fn not_started(plugin: &Plugin, call: &Call, error: &wasmtime::Error) -> CommandError {
    let name = plugin.name();
    let busy = match error.downcast_ref::<BudgetSpent>() {
        _ if error.is::<PoolConcurrencyLimitError>() => {
            Some(("No instance is free; try again later", RAISE_CONCURRENCY))
        }
        Some(BudgetSpent::Process) => Some((watermark::IS_SHORT, RAISE_PLUGIN_MEMORY)),
        Some(BudgetSpent::Plugins { .. }) => {
            Some(("The server's memory for plugins is used up; try again later", RAISE_PLUGIN_MEMORY))
        }
        None => None,
    };
    tracing::error!(
        name: LASTING, target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id(),
        error = words(error), advice = busy.map(|(_, advice)| advice), "no instance"
    );
    if let Some((words, _)) = busy {
        return CommandError::not_run(Code::Busy, words);
    }
    CommandError::unknown(
        Code::PluginTrapped,
        format!("Plugin {name} could not be started (request {})", call.id()),
    )
}

/// Logs that the call broke off by a trap, a limit, or a breach of the interface, and returns the error for
/// its client.
pub(super) fn broke_off(
    plugin: &Plugin,
    call: &Call,
    error: &wasmtime::Error,
    state: Option<&HostState>,
) -> CommandError {
    if let (Some(why), Some(Trap::Interrupt)) = (call.stop.why(), error.downcast_ref()) {
        return stopped(plugin, call, why, Some(error));
    }
    let name = plugin.name();
    let refusal = state.and_then(|state| state.memory.refusal());
    let refusal = refusal.filter(|refusal| Breakage::may_come_of(*refusal, error));
    if refusal.is_some() {
        // Logged here, so not again when the state is dropped.
        let _ = state.and_then(|state| state.memory.untold_refusal());
    }
    let Breakage { code, reason, advice } = Breakage::of(error, refusal, plugin.max_reply_bytes());
    let places = plugin.places();
    let (at, error) = (authors_place(error, places), words_with(error, places));
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id(), command = call.request().command(), reason, advice, at, error, "plugin broke off");
    CommandError::unknown(code, format!("Plugin {name} {reason} (request {})", call.id()))
}
