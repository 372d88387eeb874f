//! The identity of a peer.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::authorities::RestsOn;
use super::certificate::{Utc, Validity};
use super::rejection::Rejection;
use super::thumbprint::Thumbprint;
use super::uri::ClientUri;

/// A client that has proven possession of an admitted certificate's key. Only
/// [`authenticate`](super::authenticate) makes one.
#[derive(Clone, Debug)]
pub struct PeerIdentity(Arc<Peer>);

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: Arc<str>,
    pub(super) thumbprint: Thumbprint,
    pub(super) sha1: Thumbprint,
    pub(super) certificate_name: String,
    /// Validity of its own certificate.
    pub(super) own_validity: Validity,
    /// Intersection of the validity of the certificate and all others that identify the client.
    pub(super) validity: Validity,
    /// End of its client's admission, if it has one.
    pub(super) expires: Option<SystemTime>,
    pub(super) known_by: KnownBy,
    /// Authority and lists behind the chain, if an authority vouched for the client.
    pub(super) rests_on: Option<RestsOn>,
}

impl From<Peer> for PeerIdentity {
    fn from(peer: Peer) -> Self {
        Self(Arc::new(peer))
    }
}

/// The credential by which a client is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// Its pinned certificate.
    Pin,
    /// A URI in its certificate, vouched for by an authority.
    Uri {
        /// The URI.
        uri: ClientUri,
        /// The name in the authority's certificate, escaped and truncated.
        authority: Arc<str>,
    },
}

impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin => f.write_str("pin"),
            Self::Uri { uri, authority } => write!(f, "{uri} by {authority}"),
        }
    }
}

impl PeerIdentity {
    pub(super) fn peer(&self) -> &Peer {
        &self.0
    }

    /// The client's name in the config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The client's name, shared.
    #[must_use]
    pub fn name_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint
    }

    /// The name in its certificate, escaped and truncated.
    #[must_use]
    pub fn certificate_name(&self) -> &str {
        &self.0.certificate_name
    }

    /// The credential by which the client is known.
    #[must_use]
    pub fn known_by(&self) -> &KnownBy {
        &self.0.known_by
    }

    /// Validity of its certificate and of the chain by which an authority vouches for it.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// The end of its admission: of its [validity](Self::validity), or before that of its client's admission.
    #[must_use]
    pub fn ends(&self) -> SystemTime {
        let not_after = self.0.validity.not_after;
        self.0.expires.map_or(not_after, |expires| expires.min(not_after))
    }

    /// The rejection of a client that cannot be verified again.
    #[must_use]
    pub fn unverified(&self) -> Rejection {
        self.unusable("it cannot be verified".to_owned())
    }

    /// Checks that the identity is [valid](Self::validity) at `now`, and that its client has not expired.
    ///
    /// # Errors
    ///
    /// The fault, in the words of [`authenticate`](super::authenticate).
    pub fn check_validity(&self, now: SystemTime) -> Result<(), Rejection> {
        let Peer { own_validity, validity, expires, .. } = &*self.0;
        let fault = own_validity.fault_at(now);
        let fault =
            fault.or_else(|| Some(format!("of its chain, a certificate: {}", validity.fault_at(now)?)));
        let expired = expires.filter(|expires| now >= *expires);
        let fault = fault.or_else(|| Some(format!("its client expired at {}", Utc(expired?))));
        fault.map_or(Ok(()), |reason| Err(self.unusable(reason)))
    }

    fn unusable(&self, reason: String) -> Rejection {
        let Peer { sha1, thumbprint, certificate_name, .. } = &*self.0;
        Rejection::Unusable { name: certificate_name.clone(), sha1: *sha1, thumbprint: *thumbprint, reason }
    }
}
