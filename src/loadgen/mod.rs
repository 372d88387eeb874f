//! Load generator: drives a server with requests and measures its replies, for `lictor bench` and for
//! benchmarks against other servers.
//!
//! A [`Dialect`] is a peer's protocol; [`Lictor`] is ours. [`run`] keeps a steady load, [`handshakes()`]
//! opens connections in a loop, [`hold()`] opens many and leaves them idle.
//!
//! Prints nothing, and must not know the server's modules or the config file: it sees a server as its clients
//! do. Everything runs on the caller's runtime, which should have a single thread; the report then includes
//! its CPU time.

mod connect;
mod conversation;
mod course;
mod dialect;
mod driver;
mod error;
mod handshakes;
mod hold;
mod pacer;
mod received;
mod report;
mod schedule;
mod steady;
mod tally;

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

pub use dialect::{Lictor, Mode};
pub use error::LoadError;
pub use handshakes::{HandshakePlan, handshakes};
pub use hold::{Held, hold};
pub use report::{Progress, Report};
pub use steady::run;

/// A peer's protocol.
pub trait Dialect: Send + Sync {
    /// The length of the peer's greeting at the front of `received`, once complete; `Some(0)` if the protocol
    /// has none.
    ///
    /// # Errors
    /// The peer speaks another protocol, or does not admit this client. The message can be shown.
    fn greeting(&self, received: &[u8]) -> Result<Option<usize>, String>;

    /// The requests of one connection, one for each of its `in_flight` slots. Each is sent repeatedly.
    ///
    /// # Errors
    /// No such request is possible.
    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String>;

    /// Parses the reply, or part of one, at the front of `received`, if complete.
    ///
    /// # Errors
    /// The bytes are not a valid reply, or are one after which the peer accepts no further request.
    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String>;
}

/// A reply, or a part of one, at the front of the received bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its length in bytes.
    pub length: usize,
    /// The slot of its request; `None` if replies come in the order of the requests.
    pub slot: Option<usize>,
    /// True if this ends the reply; otherwise more parts follow.
    pub is_last: bool,
    /// The peer's error in a few words, the same for each failure of this kind; `None` for success.
    pub failure: Option<String>,
}

impl Reply {
    /// A complete and successful reply of `length` bytes to the oldest request.
    #[must_use]
    pub fn in_order(length: usize) -> Self {
        Self { length, slot: None, is_last: true, failure: None }
    }
}

/// A server, and its dialect.
#[derive(Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its name, and a connector for TLS, which must not resume sessions, or handshakes would not be full
    /// ones. `None` is plain TCP.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Its protocol.
    pub dialect: Arc<dyn Dialect>,
}

/// The timing of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A slot's next request is sent as soon as its reply arrives.
    Closed,
    /// A fixed number of requests a second over all connections, however long replies take. Latency counts
    /// from the time a request was due, so it includes the wait for a free slot.
    Open {
        /// Requests a second; above zero.
        per_second: f64,
    },
}

/// A steady load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The number of connections, all open from start to end; 1 or more.
    pub connections: usize,
    /// The most requests in flight on one connection; 1 or more.
    pub in_flight: usize,
    /// The timing of requests.
    pub pace: Pace,
    /// The running time before measuring starts.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
}

/// Callback, called about ten times a second while a load runs. `Break` ends the load early, with the report
/// so far.
pub type OnProgress<'a> = &'a dyn Fn(Progress) -> ControlFlow<()>;

#[cfg(test)]
mod tests;
