//! The other end of the wire, used by `lictor call` and `lictor bench`.
//!
//! In the order of a conversation: an [`Address`], the [`Trust`] in its server, the [`Credentials`] to show,
//! a [`Connector`] that makes a [`Connection`], encoded [`Request`]s and the [`Frame`]s that come back.
//!
//! Written from the protocol's description; shares no code with `wire`, so that either reveals faults in the
//! other. Must not know the server's modules, the config file or the terminal: never prints, asks or chooses
//! an exit code.

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

/// The crypto provider of every connection, passed to rustls explicitly: any code could set the process-wide
/// default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
