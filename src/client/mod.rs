//! The other end of the wire: what `lictor call` and `lictor bench` use to speak to a server.
//!
//! In the order in which a conversation goes: an [`Address`], whom to [`Trust`] there, the [`Credentials`] to
//! show, a [`Connector`] that makes a [`Connection`], [`Request`]s that are encoded for it and the [`Frame`]s
//! that come back.
//!
//! It is written from the protocol's description and shares no code with `wire`, so that a fault in one of
//! them is found by the other. It must not know the server's modules, the config file or the terminal: it
//! never prints, asks or picks an exit code.

mod address;
mod connect;
mod connection;
mod credentials;
mod known_servers;
pub(crate) mod private_file;
mod reply;
mod request;
mod trust;

pub use address::{Address, AddressError, DEFAULT_PORT};
pub use connect::{ConnectError, Connector};
pub use connection::{CallError, Connection};
pub use credentials::{Credentials, CredentialsError};
pub use known_servers::{BadLine, Known, KnownServers, KnownServersError, folder};
pub(crate) use private_file::create_folder;
pub use reply::{Frame, Plain, Refusal, ReplyError, ReplyReader};
pub use request::{Request, RequestError};
pub use trust::{NotTrusted, Trust, TrustError};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography of every connection, given to rustls explicitly: a process-wide default could be set by
/// anybody.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
