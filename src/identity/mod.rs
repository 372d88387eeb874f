//! The peer's identity: a certificate chain in, a [`PeerIdentity`] out.
//!
//! Pure: knows no sockets and no config file, and reads no clock.

mod authorities;
mod authority;
mod certificate;
mod faults;
mod issuers;
mod key;
mod names;
mod pair;
mod peer;
pub mod pem;
mod possession;
mod rejection;
mod revocation;
mod roster;
mod servers;
mod signatures;
mod thumbprint;
mod uri;

pub use authority::{Authority, AuthorityError};
pub use certificate::{Utc, Validity, describe, host_names};
pub use names::{MAX_NAME_CHARS, subject};
pub use pair::{PairFault, order_fault, pair, server_doubt};
pub use peer::{KnownBy, PeerIdentity};
pub use possession::{Doubt, Proofs, Unproven};
pub use rejection::Rejection;
pub use revocation::{RevocationError, RevocationList};
pub use roster::{Pinned, Roster, authenticate, recognize};
pub use servers::{Root, Servers, server_fault};
pub use thumbprint::{Thumbprint, ThumbprintError};
pub use uri::{ClientUri, UriError};
