//! Why a peer is not admitted, and who may know.

use std::fmt;

use super::thumbprint::Thumbprint;

/// Why a peer is not admitted. Shown, it is the text that the peer is sent behind `ERR `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The peer sent no certificate.
    NoCertificate,
    /// The certificate is nobody's.
    Unknown {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        sha1: Thumbprint,
        /// Its SHA-256, for the log.
        thumbprint: Thumbprint,
        /// What is not shown, since it is not for strangers: why it is nobody's.
        detail: Option<String>,
    },
    /// The certificate is a client's, but not now.
    Unusable {
        /// The certificate's name, safe to show.
        name: String,
        /// Its SHA-1.
        sha1: Thumbprint,
        /// Its SHA-256, for the log.
        thumbprint: Thumbprint,
        /// What is wrong with it.
        reason: String,
    },
}

impl Rejection {
    /// What the log tells beyond that.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Unknown { detail, .. } => detail.as_deref(),
            Self::NoCertificate | Self::Unusable { .. } => None,
        }
    }
}

impl Rejection {
    /// SHA-256 of the certificate, by which a client is pinned.
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
