//! The cause of a call that broke off, in words for its client, its operator and its author.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use super::debug::backtrace::{fault_address, says};
use super::host::context::max_piece_bytes;
use super::host::handles::{HeldTooMuch, MAX_HANDLES};
use super::host::volume::VolumeSpent;
use super::memory::refusal::MemoryRefusal;
use crate::telemetry::metrics::Counter;
use crate::wire::Code;

/// wasmtime's text for a guest that hands over too much, since it has no type for that error. A test with
/// such a plugin keeps it true.
const HOST_CALL_FUEL_TEXTS: [&str; 1] = ["too much data is being copied between the host and the guest: \
                                         fuel allocated for hostcalls has been exhausted"];

/// wasmtime's texts for too many handles.
const HANDLES_TEXTS: [&str; 2] = [
    "cannot allocate another handle: store handle limit exceeded",
    "cannot lend resource: store handle limit exceeded",
];

/// Cause for which a call broke off.
pub(super) struct Breakage {
    pub(super) code: Code,
    /// For the client and the log.
    pub(super) reason: String,
    /// Remedy, for the operator and the author.
    pub(super) advice: Option<&'static str>,
}

impl Breakage {
    /// Returns the cause of `error`: `refusal` of memory if there was one, or else what the error tells.
    pub(super) fn of(
        error: &wasmtime::Error,
        refusal: Option<MemoryRefusal>,
        max_reply_bytes: usize,
    ) -> Self {
        let Some(refusal) = refusal else { return classify(error, max_reply_bytes) };
        let reason = match error.is::<Trap>() {
            true => format!("trapped after it {refusal}"),
            false => refusal.to_string(),
        };
        let code = if refusal == MemoryRefusal::Server { Code::Busy } else { Code::PluginLimit };
        Self { code, reason, advice: Some(refusal.advice()) }
    }

    /// Returns true if `error` may have come of `refusal`. The plugin may also have coped with that: an
    /// allocator that gets no memory aborts, and the host fails if it holds too much.
    pub(super) fn may_come_of(refusal: MemoryRefusal, error: &wasmtime::Error) -> bool {
        match error.downcast_ref::<Trap>() {
            Some(trap) => *trap == Trap::UnreachableCodeReached,
            None => {
                matches!(refusal, MemoryRefusal::Held(_) | MemoryRefusal::Server)
                    && (error.is::<HeldTooMuch>() || error.is::<ResourceTableError>())
            }
        }
    }

    fn limit(reason: String, advice: Option<&'static str>) -> Self {
        Self { code: Code::PluginLimit, reason, advice }
    }
}

fn classify(error: &wasmtime::Error, max_reply_bytes: usize) -> Breakage {
    if let Some(spent) = error.downcast_ref::<VolumeSpent>() {
        return Breakage::limit(spent.to_string(), Some(spent.advice()));
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || says(error, &HANDLES_TEXTS)
    {
        Counter::HandlesUsedUp.count();
        let advice = "the bound is fixed: have it drop what it no longer uses";
        return Breakage::limit(format!("held more than its {MAX_HANDLES} handles"), Some(advice));
    }
    if says(error, &HOST_CALL_FUEL_TEXTS) {
        Counter::PiecesTooLarge.count();
        let max = max_piece_bytes(max_reply_bytes);
        let advice = "have it hand over less at once; a reply may be as large as `reply` of the plugin";
        return Breakage::limit(format!("handed the host more than {max} bytes at once"), Some(advice));
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let reason = format!("exited with status {}", exit.0);
        return Breakage { code: Code::PluginTrapped, reason, advice: None };
    }
    let (reason, advice) = match error.downcast_ref::<Trap>() {
        Some(trap) => trapped(*trap, error),
        None => ("broke the component interface".into(), None),
    };
    Breakage { code: Code::PluginTrapped, reason, advice }
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

/// Addresses that a 32-bit pointer has after going a little below 0, and those read or written through it.
const BELOW_ZERO: std::ops::Range<u64> = (1 << 32) - (16 << 20)..(1 << 32) + (64 << 10);
