//! Reasons for which connections end.

use crate::telemetry::metrics::Counter;
use crate::wire::Fault;

/// Reason for which a connection ended, as logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The client said that it sends nothing more, and has been answered.
    Closed,
    /// The client disconnected.
    Gone,
    /// The bytes received violate TLS, or did not come from the client.
    TlsFault,
    /// The client's bytes were no request.
    BadRequest,
    /// A command failed, and the config has such connections closed.
    CommandError,
    /// The connection was idle for too long.
    Idle,
    /// The client did not read its replies.
    NotReading,
    /// The server stops.
    Stopping,
    /// The client, or its certificate, is no longer admitted.
    Revoked,
    /// An operator ended it.
    Kicked,
    /// The client has more connections than it may.
    OverConnections,
}

impl CloseReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed by the client",
            Self::Gone => "the client went away",
            Self::TlsFault => "a fault of TLS",
            Self::BadRequest => "bad request",
            Self::CommandError => "command error",
            Self::Idle => "idle",
            Self::NotReading => "the client does not read",
            Self::Stopping => "the server stops",
            Self::Revoked => "revoked",
            Self::Kicked => "ended by an operator",
            Self::OverConnections => "too many connections of the client",
        }
    }

    /// Counts an end that enforced a bound.
    pub(super) fn count(self) {
        match self {
            Self::Idle => Counter::IdleClosed.count(),
            Self::NotReading => Counter::UnreadCut.count(),
            Self::OverConnections => Counter::ClientConnectionsRefused.count(),
            _ => {}
        }
    }

    /// Returns true if the connection is cut off, and nothing that waits on it is run.
    pub(super) fn is_cut_off(self) -> bool {
        matches!(self, Self::Revoked | Self::Kicked | Self::OverConnections)
    }

    /// Returns true if the client is still there to be told goodbye.
    pub(super) fn is_orderly(self) -> bool {
        !matches!(self, Self::Gone | Self::TlsFault | Self::NotReading)
    }
}

/// The message that a client reads last.
#[derive(Debug)]
pub(super) enum CloseMessage {
    /// A fault in its bytes.
    Fault(Fault),
    /// The reason for which it is disconnected.
    Farewell(String),
}
