//! Who a peer turned out to be.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::authorities::RestsOn;
use super::certificate::Validity;
use super::rejection::Rejection;
use super::thumbprint::Thumbprint;
use super::uri::ClientUri;

/// A client that proved that it holds the key of an admitted certificate. Only [`authenticate`](super::authenticate) makes one.
#[derive(Clone, Debug)]
pub struct PeerIdentity(Arc<Peer>);

#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) name: Arc<str>,
    pub(super) thumbprint: Thumbprint,
    pub(super) sha1: Thumbprint,
    pub(super) certificate_name: String,
    /// When its certificate is valid.
    pub(super) own_validity: Validity,
    /// When all that it was known by is valid, the certificate among it.
    pub(super) validity: Validity,
    pub(super) known_by: KnownBy,
    /// Where an authority vouched for it: which one.
    pub(super) rests_on: Option<RestsOn>,
}

impl From<Peer> for PeerIdentity {
    fn from(peer: Peer) -> Self {
        Self(Arc::new(peer))
    }
}

/// What a client is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// Its certificate, which is pinned.
    Pin,
    /// A URI in its certificate, for which an authority vouches.
    Uri {
        /// The URI.
        uri: ClientUri,
        /// The name in the authority's certificate, escaped and cut.
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

    /// The same, to be kept.
    #[must_use]
    pub fn name_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.name)
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        self.0.thumbprint
    }

    /// The name in its certificate, escaped and cut.
    #[must_use]
    pub fn certificate_name(&self) -> &str {
        &self.0.certificate_name
    }

    /// What it is known by.
    #[must_use]
    pub fn known_by(&self) -> &KnownBy {
        &self.0.known_by
    }

    /// When its certificate is valid, with all of the chain by which an authority vouches for it.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.0.validity
    }

    /// That it can't be found out whether it would be admitted again.
    #[must_use]
    pub fn unverified(&self) -> Rejection {
        self.unusable("it cannot be verified".to_owned())
    }

    /// Whether it is [valid](Self::validity) at `now`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in the words of [`authenticate`](super::authenticate).
    pub fn check_validity(&self, now: SystemTime) -> Result<(), Rejection> {
        let Peer { own_validity, validity, .. } = &*self.0;
        let fault = own_validity.fault_at(now);
        let fault =
            fault.or_else(|| Some(format!("of its chain, a certificate: {}", validity.fault_at(now)?)));
        fault.map_or(Ok(()), |reason| Err(self.unusable(reason)))
    }

    fn unusable(&self, reason: String) -> Rejection {
        let Peer { sha1, thumbprint, certificate_name, .. } = &*self.0;
        Rejection::Unusable { name: certificate_name.clone(), sha1: *sha1, thumbprint: *thumbprint, reason }
    }
}
