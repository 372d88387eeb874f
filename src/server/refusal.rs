//! What is said of a command that is not run.

use crate::route::Routes;
use crate::text::shown;
use crate::wire::{Code, CommandError};

/// The client may not run it. One that does not exist is said to be unknown to whoever asks.
pub(super) fn not_permitted<P>(command: &str, routes: &Routes<P>) -> CommandError {
    if routes.has(command) { forbidden(command) } else { unknown(command) }
}

/// There is no such command.
pub(super) fn unknown(command: &str) -> CommandError {
    CommandError::not_run(Code::UnknownCommand, format!("Unknown command {}", shown(command, 64)))
}

/// It is there, and not for this client.
pub(super) fn forbidden(command: &str) -> CommandError {
    CommandError::not_run(
        Code::Forbidden,
        format!("Command {} is not allowed to this client", shown(command, 64)),
    )
}
