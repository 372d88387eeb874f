//! What ends a load before its time. Failures of single requests do not; they are counted.

use std::io;
use std::net::SocketAddr;

use hdrhistogram::CreationError;
use rustix::io::Errno;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(&'static str),
    /// The requests can't be made.
    #[error("{0}")]
    Request(String),
    /// No connection at all.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// This process may not open as many files.
    #[error(
        "cannot open another connection: this process has as many files open as it may; raise its limit \
         (`ulimit -n`), or take fewer connections"
    )]
    OpenFiles,
    /// All local ports are taken, most by connections that ended a moment ago.
    #[error(
        "cannot open another connection to {0}: no local port is free; ended connections keep theirs for a minute, so \
         wait, or make fewer"
    )]
    Ports(SocketAddr),
    /// Nothing came in time.
    #[error("{address} did not answer in time ({step}); it may be at its limit of connections or handshakes")]
    TimedOut {
        /// Where.
        address: SocketAddr,
        /// What was waited for.
        step: &'static str,
    },
    /// The handshake failed.
    #[error("no TLS connection with {address}: {source}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The peer does not greet, or greets with a refusal.
    #[error("{address} does not take requests: {words}")]
    Greeting {
        /// Where.
        address: SocketAddr,
        /// What it said or did.
        words: String,
    },
    /// The peer ended a connection while it was in use.
    #[error(
        "the server closed a connection on which it had sent {replies} replies; its log says why (it may be stopping, or \
         close connections on errors)"
    )]
    Closed {
        /// How many had come on it.
        replies: u64,
    },
    /// A connection broke.
    #[error("a connection was lost: {0}; is the server still running?")]
    Lost(#[source] io::Error),
    /// What came is no reply, or one after which the peer takes no further request.
    #[error("{0}")]
    Reply(String),
    /// A timer can't be had.
    #[error("cannot set a timer: {0}")]
    Timer(#[source] io::Error),
    /// A histogram can't be had.
    #[error("cannot make a histogram: {0:?}")]
    Histogram(CreationError),
}

impl From<CreationError> for LoadError {
    fn from(error: CreationError) -> Self {
        Self::Histogram(error)
    }
}

impl LoadError {
    /// Why a connection could not be made.
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

    /// Why nothing more is read or written.
    pub(super) fn lost(source: io::Error, replies: u64) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match source.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed { replies },
            _ => Self::Lost(source),
        }
    }

    /// Whether no connection was made, so that no request was sent on it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Tls { .. } | Self::Greeting { .. }
        )
    }
}
