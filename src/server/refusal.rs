//! Requests that are not run, and what their clients are told.

use crate::authz::Denied;
use crate::route::{Routes, Unknown};
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::watermark;
use crate::wire::{Code, CommandError, Request};

/// A request that is not run.
pub(super) struct Refused {
    pub(super) request: Request,
    pub(super) refusal: Refusal,
}

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

impl Refused {
    /// Refuses a request that no pattern of the client allows. A command that does not exist is unknown to
    /// every client.
    pub(super) fn denied<P>(Denied { request }: Denied, routes: &Routes<P>) -> Self {
        let refusal = if routes.has(request.command()) { Refusal::Forbidden } else { Refusal::Unknown };
        Self { request, refusal }
    }

    /// Refuses a request for a command that does not exist.
    pub(super) fn unrouted(Unknown { request }: Unknown) -> Self {
        Self { request, refusal: Refusal::Unknown }
    }

    /// Returns the words for the client.
    pub(super) fn error(&self) -> CommandError {
        self.refusal.error(&self.request)
    }
}

impl Refusal {
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
