//! Drives a server with requests and measures how it answers: what `lictor bench` and the benchmarks beside other
//! servers are made of.
//!
//! How a peer is spoken to is a [`Dialect`]; [`Lictor`] is ours. [`run`] keeps a steady load, [`handshakes()`] makes
//! connections again and again, [`hold()`] opens many and leaves them idle.
//!
//! It prints nothing, and must not know the server's modules or the config file: it sees a server as its clients do.
//! Everything runs on the runtime that it is awaited on, and is meant for one with a single thread, whose cost is then
//! measured along.

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

/// How a peer is spoken to.
pub trait Dialect: Send + Sync {
    /// How many bytes at the front of `received` are what the peer says first, once that is complete; `Some(0)` where it
    /// says nothing.
    ///
    /// # Errors
    /// If it is not such a peer, or does not admit this client; in words that can be shown.
    fn greeting(&self, received: &[u8]) -> Result<Option<usize>, String>;

    /// The requests of one connection, one for each of its `in_flight` slots. Each is sent again and again.
    ///
    /// # Errors
    /// If there can be no such request.
    fn requests(&self, in_flight: usize) -> Result<Vec<Vec<u8>>, String>;

    /// The reply, or the part of one, at the front of `received`, if it is complete.
    ///
    /// # Errors
    /// If the bytes are no reply, or one after which the peer takes no further request.
    fn reply(&self, received: &[u8]) -> Result<Option<Reply>, String>;
}

/// What stands at the front of the received bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How many bytes it takes.
    pub length: usize,
    /// Whose reply it is; `None` where replies come in the order of the requests.
    pub slot: Option<usize>,
    /// Whether this ends the reply; otherwise more parts of it follow.
    pub is_last: bool,
    /// What the peer says went wrong, in a few words that are the same for each failure of this kind.
    pub failure: Option<String>,
}

impl Reply {
    /// A whole reply of so many bytes to the oldest request, which went well.
    #[must_use]
    pub fn in_order(length: usize) -> Self {
        Self { length, slot: None, is_last: true, failure: None }
    }
}

/// A server, and how to speak to it.
#[derive(Clone)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name, and what makes TLS connections: these must not resume sessions, or handshakes are not full ones. `None` is
    /// plain TCP.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How it is spoken to.
    pub dialect: Arc<dyn Dialect>,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The next request of a slot as soon as its reply is there.
    Closed,
    /// So many requests a second over all connections, however long replies take. Latency counts from when a request
    /// was due: one that waits for a free slot has begun to wait then.
    Open {
        /// Above zero.
        per_second: f64,
    },
}

/// A steady load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How many, all open from the begin to the end; 1 or more.
    pub connections: usize,
    /// The most requests of one connection that wait for their replies; 1 or more.
    pub in_flight: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// How long it runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

/// What is called about ten times a second while a load runs: a break ends the load early, with the report so far.
pub type OnProgress<'a> = &'a dyn Fn(Progress) -> ControlFlow<()>;

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
