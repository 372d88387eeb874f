//! Why connections end.

use crate::telemetry::metrics::Counter;

/// Why a connection ended; the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client said that it sends nothing more, and has been answered.
    Closed,
    /// The client went away.
    Gone,
    /// What came was not what TLS lets come, or did not come from the client.
    TlsFault,
    /// The client's bytes were no request.
    BadRequest,
    /// A command failed, and the config has such connections closed.
    CommandError,
    /// Nothing happened for long.
    Idle,
    /// The client did not read its replies.
    NotReading,
    /// The server stops.
    Stopping,
    /// The client, or its certificate, is not admitted any more.
    Revoked,
    /// An operator ended it.
    Kicked,
}

impl End {
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
        }
    }

    /// Counts an end by which a bound was kept.
    pub(super) fn count(self) {
        match self {
            Self::Idle => Counter::IdleClosed.count(),
            Self::NotReading => Counter::UnreadCut.count(),
            _ => {}
        }
    }

    /// Whether the client is still there to be told goodbye.
    pub(super) fn is_orderly(self) -> bool {
        !matches!(self, Self::Gone | Self::TlsFault | Self::NotReading)
    }
}
