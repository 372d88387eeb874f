//! Errors that end a load early. Failures of single requests do not; they are counted.

use std::io;
use std::net::SocketAddr;

use hdrhistogram::CreationError;
use rustix::io::Errno;

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan is invalid.
    #[error("{0}")]
    Plan(&'static str),
    /// The requests can't be encoded.
    #[error("{0}")]
    Request(String),
    /// The connection could not be opened.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The peer's address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// This process has reached its limit of open files.
    #[error(
        "cannot open another connection: this process has as many files open as it may; raise its limit \
         (`ulimit -n`), or take fewer connections"
    )]
    OpenFiles,
    /// All local ports are in use, most by recently ended connections.
    #[error(
        "cannot open another connection to {0}: no local port is free; ended connections keep theirs for a minute, so \
         wait, or make fewer"
    )]
    Ports(SocketAddr),
    /// A step took too long.
    #[error("{address} did not answer in time ({step}); it may be at its limit of connections or handshakes")]
    TimedOut {
        /// The peer's address.
        address: SocketAddr,
        /// The step that timed out.
        step: &'static str,
    },
    /// The TLS handshake failed.
    #[error("no TLS connection with {address}: {source}")]
    Tls {
        /// The peer's address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The peer sent no valid greeting, or refused.
    #[error("{address} does not take requests: {words}")]
    Greeting {
        /// The peer's address.
        address: SocketAddr,
        /// The refusal, or a description of the fault.
        words: String,
    },
    /// The peer closed a connection in use.
    #[error(
        "the server closed a connection on which it had sent {replies} replies; its log says why (it may be stopping, or \
         close connections on errors)"
    )]
    Closed {
        /// The number of replies received on it.
        replies: u64,
    },
    /// A connection broke.
    #[error("a connection was lost: {0}; is the server still running?")]
    Lost(#[source] io::Error),
    /// The bytes received are not a valid reply, or are one after which the peer accepts no further request.
    #[error("{0}")]
    Reply(String),
    /// The timer could not be created or set.
    #[error("cannot set a timer: {0}")]
    Timer(#[source] io::Error),
    /// The histogram could not be created.
    #[error("cannot make a histogram: {0:?}")]
    Histogram(CreationError),
}

impl From<CreationError> for LoadError {
    fn from(error: CreationError) -> Self {
        Self::Histogram(error)
    }
}

impl LoadError {
    /// Classifies an error of connecting.
    pub(super) fn connecting(address: SocketAddr, source: io::Error) -> Self {
        let is = |errno: Errno| source.raw_os_error() == Some(errno.raw_os_error());
        if is(Errno::MFILE) || is(Errno::NFILE) {
            Self::OpenFiles
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            Self::Ports(address)
        } else {
            Self::Connect { address, source }
        }
    }

    /// Classifies a read or write error.
    pub(super) fn lost(source: io::Error, replies: u64) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match source.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed { replies },
            _ => Self::Lost(source),
        }
    }

    /// Returns true if no usable connection was made, so that no request was sent on it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Tls { .. } | Self::Greeting { .. }
        )
    }
}
