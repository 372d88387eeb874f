//! Tokio's edge: sockets, TLS, connections, and their ends.
//!
//! Acts on the results of the pure modules, logs, and counts. Knows no config file.

mod admission;
mod builtin;
mod close_reason;
mod connection;
mod control;
mod exposition;
mod gate;
mod handshake;
mod listen;
mod listener;
mod plugin_commands;
mod rate_limit;
mod refusal;
mod registry;
mod service;
mod shared;
mod stranger;
mod tls;
mod traces;
mod verify;
mod visit;
mod watchers;

pub use admission::AdmissionLimits;
pub use control::{CertificateEnd, ConfigLine, Control, Done, Report, Words};
pub use listen::bind;
pub use listener::Server;
pub use rate_limit::RateLimits;
pub use service::{ConnectionLimits, Service, named_commands};
pub use shared::Current;
pub use tls::{TlsError, TlsFiles, TlsVersion, tls_acceptor};
pub use traces::Traces;
pub use verify::Rechecks;
pub use visit::{Turned, Visit};
