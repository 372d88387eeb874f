//! What is said of a command that is not run.

use crate::authz::Denied;
use crate::route::{Routes, Unknown};
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Request};

/// A request that is not carried out, and what its client is told.
pub(super) struct Refused {
    pub(super) request: Request,
    pub(super) error: CommandError,
}

/// The client may not run it. A command that does not exist is said to be unknown to whoever asks.
pub(super) fn denied<P>(Denied { request }: Denied, routes: &Routes<P>) -> Refused {
    let command = request.command();
    let error = if routes.has(command) { forbidden(command) } else { CommandError::unknown_command(command) };
    Refused { error, request }
}

/// There is no such command.
pub(super) fn unrouted(Unknown { request }: Unknown) -> Refused {
    Refused { error: CommandError::unknown_command(request.command()), request }
}

/// Why a request is not run, whatever it asks for. Its client is told in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// Its client has sent too many.
    OverRate,
    /// The process holds as much memory as it may.
    MemoryIsShort,
}

impl TurnedAway {
    pub(super) fn error(self) -> CommandError {
        match self {
            Self::OverRate => {
                Counter::RateLimited.count();
                CommandError::not_run(Code::RateLimited, "Too many requests in this second; try again later")
            }
            Self::MemoryIsShort => CommandError::not_run(Code::Busy, watermark::IS_SHORT),
        }
    }
}

/// It is there, and not for this client.
pub(super) fn forbidden(command: &str) -> CommandError {
    CommandError::not_run(
        Code::Forbidden,
        format!("Command {} is not allowed to this client", shown(command, 64)),
    )
}
