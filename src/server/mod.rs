//! Tokio's edge: sockets, TLS, connections, and the end of them.
//!
//! Acts on what the pure modules return, logs, and counts. Knows no config file.

mod accept;
mod admission;
mod batch;
mod builtin;
mod clock;
mod conn;
mod control;
mod end;
mod gate;
mod in_place;
mod lanes;
mod link;
mod listen;
mod members;
mod nested;
mod once;
mod rates;
mod refusal;
mod room;
mod session;
mod stranger;
mod tls;
mod verify;

pub use accept::{Current, Server};
pub use admission::AdmissionLimits;
pub use control::{Control, Done};
pub use listen::bind;
pub use rates::Rates;
pub use tls::{TlsError, TlsFiles, TlsVersion, tls_acceptor};
pub use verify::Rechecks;

use std::sync::Arc;
use std::time::Duration;

use self::end::End;
use crate::authz::Policy;
use crate::idempotency::Ledger;
use crate::identity::Roster;
use crate::plugin::{Plugin, Shares};
use crate::route::Routes;
use crate::telemetry::CommandLog;

/// What connections work by: who is admitted, what they may run, and what carries it out.
pub struct Service {
    /// The admitted certificates.
    pub roster: Roster,
    /// What was found out anew about the chains of clients that this roster has.
    pub rechecks: Rechecks,
    /// What each client may run.
    pub policy: Policy,
    /// The plugins' commands.
    pub routes: Routes<Arc<Plugin>>,
    /// What each client may have running at once.
    pub shares: Shares,
    /// How much each client may send.
    pub rates: Rates,
    /// The answers that are kept by their requests' keys.
    pub idempotency: Ledger,
    /// Bounds on each connection.
    pub limits: ConnectionLimits,
    /// Whether a connection ends after a command's error, as the original's did.
    pub close_on_error: bool,
    /// Where the commands' events go.
    pub log: CommandLog,
}

/// Bounds on one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Requests under way: framed ones that run, and plain ones that run or wait. At the limit the server stops
    /// reading.
    pub in_flight: usize,
    /// Bytes of the requests under way. Past the limit the server stops reading.
    pub in_flight_bytes: usize,
    /// The largest `Size`, in bytes.
    pub body_bytes: usize,
    /// From a head's first byte to its last.
    pub head_timeout: Duration,
    /// From a head's end to its body's.
    pub body_timeout: Duration,
    /// Without a request under way and without a byte from the client.
    pub idle_timeout: Duration,
    /// Without the client taking a byte of what is there for it.
    pub write_timeout: Duration,
    /// How long one connection computes before its replies are written and others get their turn.
    pub slice: Duration,
}
