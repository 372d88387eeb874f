//! Refusals of requests with a key, in words for their clients.

use std::time::Duration;

use super::fingerprint::Fingerprint;
use crate::state::{Blame, StateError};
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::wire::{Code, CommandError};

/// Refuses a key for a command that streams: no answer of such a command is stored.
#[must_use]
pub fn refused_of_stream() -> CommandError {
    let words = "A command that streams takes no Idempotency-Key; send the request without one";
    CommandError::not_run(Code::BadArguments, words)
}

/// Refuses a request that is running.
fn still_running() -> CommandError {
    let words = "The request with this Idempotency-Key is still running; try again later";
    CommandError::not_run(Code::Conflict, words)
}

/// Refuses a request whose key is in use by the running request `other`.
pub(super) fn beside(other: Fingerprint, request: Fingerprint) -> CommandError {
    if other == request { still_running() } else { other_request() }
}

/// Refuses a request whose key was sent with another request.
pub(super) fn other_request() -> CommandError {
    let words = "This Idempotency-Key was sent with another request; each request needs a key of its own";
    CommandError::not_run(Code::Conflict, words)
}

/// Refuses a request whose key can't be looked up or written.
pub(super) fn by_state(client: &str, error: &StateError, window: Duration) -> CommandError {
    match error {
        StateError::QuotaExceeded { kind, limit, .. } => {
            Counter::IdempotencyKeysUsedUp.count();
            let words = format!(
                "The Idempotency-Keys of the last {:?} take up this client's {limit} {kind}; send it again later",
                window
            );
            CommandError::not_run(Code::RateLimited, words)
        }
        // Another process writes to the same state.
        StateError::Conflict { .. } => still_running(),
        error => {
            if error.blame() == Blame::Operator {
                tracing::error!(
                    name: LASTING, target: "lictor::command", client, %error,
                    "an Idempotency-Key cannot be kept"
                );
            }
            let words = "The Idempotency-Key cannot be kept; try again later";
            CommandError::not_run(Code::Unavailable, words)
        }
    }
}
