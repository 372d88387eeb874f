//! Who the peer is: a certificate chain in, a [`PeerIdentity`] out.
//!
//! Pure: knows no sockets and no config file, and reads no clock.

mod certificate;
mod roster;
mod thumbprint;

pub use certificate::{MAX_NAME_CHARS, Validity, describe};
pub use roster::{PeerIdentity, Rejection, Roster, authenticate};
pub use thumbprint::{Thumbprint, ThumbprintError};
