//! Reasons for not admitting a peer, and which of them the peer may learn.

use std::fmt;

use super::thumbprint::Thumbprint;

/// The reason why a peer is not admitted. Its `Display` is the text sent to the peer after `ERR `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The peer sent no certificate.
    NoCertificate,
    /// The certificate belongs to no client.
    Unknown {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        sha1: Thumbprint,
        /// Its SHA-256, for the log.
        thumbprint: Thumbprint,
        /// Reason why the certificate belongs to no client; for the log, not displayed to strangers.
        detail: Option<String>,
    },
    /// The certificate is a client's, but unusable now.
    Unusable {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        sha1: Thumbprint,
        /// Its SHA-256, for the log.
        thumbprint: Thumbprint,
        /// The fault.
        reason: String,
    },
}

impl Rejection {
    /// Additional detail for the log.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unknown { detail, .. } => detail.as_deref(),
            Self::NoCertificate | Self::Unusable { .. } => None,
        }
    }
}

impl Rejection {
    /// SHA-256 of the certificate, by which a client can be pinned.
    #[must_use]
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        match self {
            Self::NoCertificate => None,
            Self::Unknown { thumbprint, .. } | Self::Unusable { thumbprint, .. } => Some(*thumbprint),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("No certificate was provided"),
            Self::Unknown { name, sha1, .. } => {
                write!(f, "certificate ({name}) thumbprint '{sha1}' is unknown")
            }
            Self::Unusable { name, sha1, reason, .. } => {
                write!(f, "certificate ({name}) thumbprint '{sha1}' cannot be used: {reason}")
            }
        }
    }
}
