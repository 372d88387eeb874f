//! What went wrong in a plugin: in plain words for the client, in full for the log.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::backtrace::{authors_place, fault_address, names_functions, says, words, words_with};
use super::bindings::lictor::plugin::types::Failure;
use super::bounds::BudgetSpent;
use super::bounds::CpuSpent;
use super::bounds::MemoryRefusal;
use super::host::{HeldTooMuch, MAX_HANDLES, VolumeSpent};
use super::instance::{HostState, max_piece_bytes};
use super::invoke::Call;
use super::load::Plugin;
use super::stopped::{DeadlineOf, Stopped};
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::watermark;
use crate::wire::{Code, CommandError, Outcome};

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

/// The call was stopped; by `error`, where it broke off while it computed.
pub(super) fn stopped(
    plugin: &Plugin,
    call: &Call,
    why: Stopped,
    error: Option<&wasmtime::Error>,
) -> CommandError {
    let (name, client, request, command) =
        (plugin.name(), call.caller.name(), call.id, call.request.command());
    let doing = doing(call, error);
    let places = plugin.debug.places();
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

/// What a call was at that is stopped.
fn doing(call: &Call, error: Option<&wasmtime::Error>) -> &'static str {
    match (error, call.outcome_if_stopped()) {
        (Some(_), _) => "it computed",
        (None, Outcome::NotRun) => "it had not begun",
        (None, _) => "it waited for the host",
    }
}

/// Whose the deadline of `call` is and how long, and what gives it more time.
fn deadline(plugin: &Plugin, call: &Call) -> (String, &'static str) {
    match (call.stop.deadline_of, call.request.timeout_ms()) {
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

const RAISE_TIMEOUT: &str = "raise `timeout` of the plugin, or `--timeout` of the command line";

const RAISE_CPU_TIME: &str = "raise `cpu_time` of the plugin";

/// No instance could be made. The plugin was instantiated when it was loaded, so this is the pool or the memory of
/// the machine.
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
        name: LASTING, target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id,
        error = words(error), advice = busy.map(|(_, advice)| advice), "no instance"
    );
    if let Some((words, _)) = busy {
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
    if let (Some(why), Some(Trap::Interrupt)) = (call.stop.why(), error.downcast_ref()) {
        return stopped(plugin, call, why, Some(error));
    }
    let name = plugin.name();
    let refusal = state.and_then(|state| state.memory.refusal());
    let Broken { code, reason, advice } = match refusal.filter(|refusal| is_by(*refusal, error)) {
        Some(refusal) => {
            // It is told here.
            let _ = state.and_then(|state| state.memory.untold_refusal());
            broken_by(refusal, error)
        }
        None => classify(error, plugin.max_reply_bytes()),
    };
    let places = plugin.debug.places();
    let (at, error) = (authors_place(error, places), words_with(error, places));
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, command = call.request.command(), reason, advice, at, error, "plugin broke off");
    CommandError::unknown(code, format!("Plugin {name} {reason} (request {})", call.id))
}

/// The reply came whole but is longer than allowed.
pub(super) fn reply_too_large(plugin: &Plugin, call: &Call) -> CommandError {
    let (name, max) = (plugin.name(), plugin.max_reply_bytes());
    tracing::warn!(target: "lictor::plugin", plugin = name, client = call.caller.name(), request = %call.id, command = call.request.command(), max_bytes = max, advice = RAISE_REPLY, "reply too large");
    Counter::RepliesTooLarge.count();
    CommandError::unknown(
        Code::PluginLimit,
        format!("Plugin {name} returned more than its {max} bytes (request {})", call.id),
    )
}

/// A failure while loading, in words for the operator.
pub(super) fn reason(error: &wasmtime::Error, state: &HostState) -> String {
    let refusal = state.memory.refusal().filter(|refusal| !error.is::<Trap>() || is_by(*refusal, error));
    let Broken { reason, advice, .. } = match refusal {
        Some(refusal) => broken_by(refusal, error),
        None => classify(error, state.max_reply_bytes),
    };
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
            format!("needed more than the {max} bytes of memory that it declares as its most"),
            "build it with a larger maximum, or none: `--max-memory` of its linker",
        ),
        MemoryRefusal::DeclaredTable(max) => (
            format!("needed more than the {max} elements of a table that it declares as its most"),
            "build it with a larger maximum of that table, or none",
        ),
        MemoryRefusal::Server => {
            ("needed more memory than the server has left for plugins".into(), RAISE_PLUGIN_MEMORY)
        }
    }
}

const RAISE_PLUGIN_MEMORY: &str =
    "raise `plugin_memory` and `process_memory` of [limits] as far as the machine has memory";

const RAISE_CONCURRENCY: &str =
    "raise `concurrent_commands` of [limits], or lower `concurrency` of the plugins that run longest";

const RAISE_REPLY: &str =
    "raise `reply` of the plugin, or `--reply` of the command line; or have it reply in parts";

const RAISE_MEMORY: &str = "raise `memory` of the plugin, or `--memory` of the command line";

/// Whether `error` may have come of `refusal`, which the plugin may also have coped with: an allocator that gets no memory aborts,
/// and the host fails where it holds too much.
fn is_by(refusal: MemoryRefusal, error: &wasmtime::Error) -> bool {
    match error.downcast_ref::<Trap>() {
        Some(trap) => *trap == Trap::UnreachableCodeReached,
        None => {
            matches!(refusal, MemoryRefusal::Held(_) | MemoryRefusal::Server)
                && (error.is::<HeldTooMuch>() || error.is::<ResourceTableError>())
        }
    }
}

/// A call that broke off in `error` by `refusal`, as far as that can be known.
fn broken_by(refusal: MemoryRefusal, error: &wasmtime::Error) -> Broken {
    let (reason, advice) = of_memory(refusal);
    let reason = if error.is::<Trap>() { format!("trapped after it {reason}") } else { reason };
    let code = if refusal == MemoryRefusal::Server { Code::Busy } else { Code::PluginLimit };
    Broken { code, reason, advice: Some(advice) }
}

fn classify(error: &wasmtime::Error, max_reply_bytes: usize) -> Broken {
    if let Some(spent) = error.downcast_ref::<VolumeSpent>() {
        return Broken::limit(spent.to_string(), Some(spent.advice()));
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
