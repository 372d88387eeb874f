//! A guest's answer to its call, and the errors that become of one which is no reply.

use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::plugin::call::Call;
use crate::telemetry::metrics::Counter;
use crate::wire::{Code, CommandError};

/// The result of a command, as a guest gives it.
pub(in crate::plugin) type Answer = Result<Vec<u8>, Failure>;

/// Longest message of a failure that is kept until it is told, in bytes. No more of one is ever shown, and a
/// plugin may make it as large as all that it hands over in one piece.
const MAX_MESSAGE_BYTES: usize = 8 << 10;

const RAISE_REPLY: &str =
    "raise `reply` of the plugin, or `--reply` of the command line; or have it reply in parts";

/// Returns the error for a failure that the plugin reports itself.
pub(super) fn reported(failure: Failure) -> CommandError {
    let code = match failure.code.as_str() {
        "bad-arguments" => Code::BadArguments,
        "not-found" => Code::NotFound,
        "conflict" => Code::Conflict,
        "denied" => Code::Denied,
        "unavailable" => Code::Unavailable,
        _ => Code::PluginFailed,
    };
    let mut message = failure.message;
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        message.shrink_to_fit();
    }
    CommandError::failed(code, message)
}

/// Logs that the reply to `call` of `plugin` has more than `max_bytes`, and returns the error for the client.
pub(super) fn too_large(plugin: &str, call: &Call, max_bytes: usize) -> CommandError {
    tracing::warn!(target: "lictor::plugin", plugin, client = call.caller.name(), request = %call.id(), command = call.request().command(), max_bytes, advice = RAISE_REPLY, "reply too large");
    Counter::RepliesTooLarge.count();
    CommandError::unknown(
        Code::PluginLimit,
        format!("Plugin {plugin} returned more than its {max_bytes} bytes (request {})", call.id()),
    )
}
