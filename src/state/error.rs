//! Errors of state, their texts, and who has to act. Knows no engine.
//!
//! Two texts: `Display` is for the log and may name a file; [`StateError::plain`] is for a plugin and its
//! client and never does.

use std::fmt;

use super::version::Version;

/// The reason why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The engine can't do it now. A write may have taken effect all the same. For the operator to fix.
    #[error("state is unavailable: {what}")]
    Unavailable {
        /// The cause.
        what: String,
    },
    /// The write would exceed the namespace's quota. For the plugin to fix, or for the operator who set the
    /// quota.
    #[error("the store's quota of {limit} {kind} is used up: the write would make it {needed}")]
    QuotaExceeded {
        /// The quota exceeded.
        kind: QuotaKind,
        /// Its limit.
        limit: u64,
        /// The namespace's usage after the write.
        needed: u64,
    },
    /// The entry is not the expected one. The plugin should read it again and decide again.
    #[error("the entry is not what was expected")]
    Conflict {
        /// The current version; `None` if there is no entry.
        current: Option<Version>,
    },
    /// A value or a call is too large. For the plugin to fix.
    #[error("{what} is too large: {size} where {limit} are allowed")]
    TooLarge {
        /// The thing that is too large, with the unit of the sizes.
        what: &'static str,
        /// Its size; for a read, the size at which it became too large.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The key is invalid. For the plugin to fix.
    #[error("not a key: {why}")]
    InvalidKey {
        /// The reason.
        why: &'static str,
    },
    /// The time to live is shorter than a millisecond or longer than ten years. For the plugin to fix.
    #[error("not a time to live: it must be from 1 millisecond to 10 years")]
    InvalidTtl,
    /// The entry to increment is not decimal text of a 64-bit number. For the plugin to fix.
    #[error("the entry is not a whole decimal number of 64 bits, so nothing can be added to it")]
    NotANumber,
    /// The sum does not fit into 64 bits. For the plugin to fix.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// The stored data can't be read. For the operator to fix.
    #[error("state is damaged: {what}")]
    Corrupt {
        /// The damage, its place, and advice.
        what: String,
    },
    /// The file belongs to something else. For the operator to fix.
    #[error("not a state file: {what}")]
    Foreign {
        /// The content found, its place, and advice.
        what: String,
    },
    /// The file was written by a newer release. For the operator to fix.
    #[error(
        "{place} has schema {found}, and this release knows schemas up to {known}: run the newer release, or \
         restore a backup made before it"
    )]
    NewerSchema {
        /// The file's path.
        place: String,
        /// The number of its schema.
        found: u32,
        /// The newest schema that this release knows.
        known: u32,
    },
}

/// The kind of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaKind {
    /// Number of keys.
    Keys,
    /// Bytes of keys and values together.
    Bytes,
}

/// The party that can fix an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The plugin, and so its author.
    Plugin,
    /// The operator of the server.
    Operator,
}

impl StateError {
    /// The party that can fix this error.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unavailable { .. }
            | Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::NewerSchema { .. } => Blame::Operator,
            Self::QuotaExceeded { .. }
            | Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::InvalidKey { .. }
            | Self::InvalidTtl
            | Self::NotANumber
            | Self::Overflow => Blame::Plugin,
        }
    }

    /// The text for a plugin and its client: never a path or an inner error.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Unavailable { .. } => "state is unavailable; try again later".to_owned(),
            Self::Corrupt { .. } | Self::Foreign { .. } | Self::NewerSchema { .. } => {
                "state is unavailable until the operator has looked at it".to_owned()
            }
            of_the_plugin => of_the_plugin.to_string(),
        }
    }

    /// [`StateError::Unavailable`] because of `what`.
    pub(super) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into() }
    }

    /// Returns [`StateError::TooLarge`] if `size` exceeds `limit`.
    pub(super) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Self> {
        if size <= limit {
            return Ok(());
        }
        Err(Self::TooLarge { what, size: size as u64, limit: limit as u64 })
    }
}

impl QuotaKind {
    /// Advice on how to give the store more of it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Keys => "raise `store_keys` of the plugin or of [state], or have entries expire",
            Self::Bytes => "raise `store_bytes` of the plugin or of [state], or have entries expire",
        }
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "keys",
            Self::Bytes => "bytes",
        })
    }
}
