//! Tokio's edge: sockets, TLS, connections, and the end of them.
//!
//! Acts on what the pure modules return, logs, and counts. Knows no config file.

mod accept;
mod admission;
mod builtin;
mod codec;
mod conn;
mod lanes;
mod stop;
mod tls;

pub use accept::{Server, bind};
pub use admission::AdmissionLimits;
pub use conn::ConnectionLimits;
pub use tls::{TlsError, TlsFiles, TlsVersion, tls_acceptor};

use std::sync::Arc;

use crate::authz::Policy;
use crate::identity::Roster;
use crate::plugin::Plugin;
use crate::route::Routes;
use crate::telemetry::CommandLog;

/// What connections work by: who is admitted, what they may run, and what carries it out.
pub struct Service {
    /// The admitted certificates.
    pub roster: Roster,
    /// What each client may run.
    pub policy: Policy,
    /// The plugins' commands.
    pub routes: Routes<Arc<Plugin>>,
    /// Bounds on each connection.
    pub limits: ConnectionLimits,
    /// Whether a connection ends after a command's error, as the original's did.
    pub close_on_error: bool,
    /// Where the commands' events go.
    pub log: CommandLog,
}
