//! Requests that are not run, and what their clients are told.

use crate::route::Routes;
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Request};

/// The reason for which a request is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such command.
    Unknown,
    /// The command exists, but this client may not run it.
    Forbidden,
    /// The client has sent too many requests.
    OverRate,
    /// The process holds as much memory as it may.
    MemoryIsShort,
}

impl Refusal {
    /// Refuses a request that is denied to the client. A command that does not exist is unknown to every
    /// client.
    pub(super) fn denied<P>(request: &Request, routes: &Routes<P>) -> Self {
        if routes.has(request.command()) { Self::Forbidden } else { Self::Unknown }
    }

    /// Returns the words for the client that sent `request`.
    pub(super) fn error(self, request: &Request) -> CommandError {
        let command = request.command();
        match self {
            Self::Unknown => {
                CommandError::not_run(Code::UnknownCommand, format!("Unknown command {}", shown(command, 64)))
            }
            Self::Forbidden => CommandError::not_run(
                Code::Forbidden,
                format!("Command {} is not allowed to this client", shown(command, 64)),
            ),
            Self::OverRate => {
                CommandError::not_run(Code::RateLimited, "Too many requests in this second; try again later")
            }
            Self::MemoryIsShort => CommandError::not_run(Code::Busy, watermark::IS_SHORT),
        }
    }

    /// Counts a refusal by its bound; called where the refusal is sent, once.
    pub(super) fn count(self) {
        if self == Self::OverRate {
            Counter::RateLimited.count();
        }
    }
}
