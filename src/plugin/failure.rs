//! What went wrong in a plugin: in plain words for the client, in full for the log.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::backtrace::{authors_place, fault_address, says, words, words_with};
use super::bindings::lictor::plugin::types::Failure;
use super::bounds::BudgetSpent;
use super::bounds::CpuSpent;
use super::bounds::MemoryRefusal;
use super::host::{MAX_HANDLES, VolumeSpent};
use super::instance::{HostState, max_piece_bytes};
use super::invoke::Call;
use super::load::Plugin;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::watermark;
use crate::wire::{Code, CommandError};

/// wasmtime has no type for this error, only these words; a test with a plugin that hands over too much keeps them
/// true.
const HOST_CALL_FUEL_TEXTS: [&str; 1] = ["too much data is being copied between the host and the guest: \
                                         fuel allocated for hostcalls has been exhausted"];

/// The same for handles of which there are too many.
const HANDLES_TEXTS: [&str; 2] = [
    "cannot allocate another handle: store handle limit exceeded",
    "cannot lend resource: store handle limit exceeded",
];

/// Bytes of a failure's message and of its code that are kept until it is told. Of the message more is never shown, and a
/// longer code is none that is known.
const MAX_KEPT_BYTES: usize = 8 << 10;

/// As much of `failure` as is kept: a plugin may make it as large as all that it hands over in one piece.
pub(super) fn pared(mut failure: Failure) -> Failure {
    for text in [&mut failure.code, &mut failure.message] {
        if text.len() > MAX_KEPT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_KEPT_BYTES));
            text.shrink_to_fit();
        }
    }
    failure
}

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
    let Broken { code, reason, advice } = classify(error, state, plugin.max_reply_bytes());
    let places = plugin.debug.places();
    let (at, error) = (authors_place(error, places), words_with(error, places));
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, reason, advice, at, error, "plugin broke off");
    CommandError::unknown(code, format!("Plugin {name} {reason} (request {})", call.id))
}

/// The reply came whole but is longer than allowed.
pub(super) fn reply_too_large(plugin: &Plugin, call: &Call) -> CommandError {
    let (name, max) = (plugin.name(), plugin.max_reply_bytes());
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, max_bytes = max, "reply too large");
    Counter::RepliesTooLarge.count();
    CommandError::unknown(
        Code::PluginLimit,
        format!("Plugin {name} returned more than its {max} bytes (request {})", call.id),
    )
}

/// A failure while loading, in words for the operator.
pub(super) fn reason(error: &wasmtime::Error, state: &HostState) -> String {
    let Broken { reason, advice, .. } = classify(error, Some(state), state.max_reply_bytes);
    advice.map_or_else(|| reason.clone(), |advice| format!("{reason}; {advice}"))
}

/// Why a call broke off.
struct Broken {
    code: Code,
    /// For the client and the log.
    reason: String,
    /// What mends it, for the operator and the author.
    advice: Option<&'static str>,
}

impl Broken {
    fn limit(reason: String, advice: Option<&'static str>) -> Self {
        Self { code: Code::PluginLimit, reason, advice }
    }
}

/// Why `refusal` kept an instance from getting memory, and what mends it.
pub(super) fn of_memory(refusal: MemoryRefusal) -> (String, &'static str) {
    match refusal {
        MemoryRefusal::Own(max) => (format!("needed more than its {max} bytes of memory"), RAISE_MEMORY),
        MemoryRefusal::Held(max) => (
            format!("needed more than its {max} bytes of memory, with what the host holds for its handles"),
            RAISE_MEMORY,
        ),
        MemoryRefusal::Table(max) => (
            format!("needed more than {max} elements in a table"),
            "the bound is fixed: let it use several tables, or memory",
        ),
        MemoryRefusal::Declared(max) => (
            format!(
                "needed more than the {max} bytes of memory or elements of a table that it declares as its most"
            ),
            "build it with a larger maximum, or none: `--max-memory` of its linker",
        ),
        MemoryRefusal::Server => (
            "needed more memory than the server has left for plugins".into(),
            "raise `plugin_memory` and `process_memory` of [limits] as far as the machine has memory",
        ),
    }
}

const RAISE_MEMORY: &str = "raise `memory` of the plugin, or `--memory` of the command line";

fn classify(error: &wasmtime::Error, state: Option<&HostState>, max_reply_bytes: usize) -> Broken {
    if let Some(refusal) = state.and_then(|state| state.memory.refusal()) {
        let (reason, advice) = of_memory(refusal);
        let code = if refusal == MemoryRefusal::Server { Code::Busy } else { Code::PluginLimit };
        return Broken { code, reason, advice: Some(advice) };
    }
    if let Some(spent) = error.downcast_ref::<VolumeSpent>() {
        return Broken::limit(spent.to_string(), Some("raise `host_calls` or `host_bytes` of the plugin"));
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || says(error, &HANDLES_TEXTS)
    {
        Counter::HandlesUsedUp.count();
        let advice = "the bound is fixed: have it drop what it no longer uses";
        return Broken::limit(format!("held more than its {MAX_HANDLES} handles"), Some(advice));
    }
    if says(error, &HOST_CALL_FUEL_TEXTS) {
        Counter::PiecesTooLarge.count();
        let max = max_piece_bytes(max_reply_bytes);
        let advice = "have it hand over less at once; a reply may be as large as `reply` of the plugin";
        return Broken::limit(format!("handed the host more than {max} bytes at once"), Some(advice));
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let reason = format!("exited with status {}", exit.0);
        return Broken { code: Code::PluginTrapped, reason, advice: None };
    }
    let (reason, advice) = match error.downcast_ref::<Trap>() {
        Some(trap) => trapped(*trap, error),
        None => ("broke the component interface".into(), None),
    };
    Broken { code: Code::PluginTrapped, reason, advice }
}

fn trapped(trap: Trap, error: &wasmtime::Error) -> (String, Option<&'static str>) {
    if trap == Trap::StackOverflow {
        return (
            "trapped: its call stack is exhausted".into(),
            Some("the bound of 512 KiB is fixed: have it recurse less deeply"),
        );
    }
    let words = trap.to_string();
    let words = words.trim_start_matches("wasm trap: ");
    match fault_address(error).filter(|address| BELOW_ZERO.contains(address)) {
        // Toolchains put the stack below all else, and it grows downwards. But any pointer may be that wrong.
        Some(address) if trap == Trap::MemoryOutOfBounds => (
            format!(
                "trapped: {words} at {address:#x}, just below address 0: most likely its stack is used up"
            ),
            Some(
                "build it with a larger stack (`-z stack-size=BYTES` of its linker), or have it recurse less deeply",
            ),
        ),
        Some(_) | None => (format!("trapped: {words}"), None),
    }
}

/// Addresses of 32 bits that a pointer has which went a little below 0, and what is read or written there.
const BELOW_ZERO: std::ops::Range<u64> = (1 << 32) - (16 << 20)..(1 << 32) + (64 << 10);
