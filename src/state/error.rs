//! What can go wrong with state, in words, and who has to act. It knows no engine.
//!
//! Two texts: `Display` is for the log and may name a file; [`StateError::plain`] is for a plugin and its client and never
//! does.

use std::fmt;

use super::values::Version;

/// Why an operation was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The engine can't do it now. A write may have had its effect all the same. The operator's to mend.
    #[error("state is unavailable: {what}")]
    Unavailable {
        /// What is in the way.
        what: String,
    },
    /// The write would take the namespace past its quota. The plugin's to mend, or the operator's who set it.
    #[error("the store's quota of {limit} {kind} is used up: the write would make it {needed}")]
    QuotaExceeded {
        /// Which of the two quotas.
        kind: QuotaKind,
        /// The quota.
        limit: u64,
        /// What the namespace would have held.
        needed: u64,
    },
    /// The entry is not what was expected. The plugin reads it again and decides anew.
    #[error("the entry is not what was expected")]
    Conflict {
        /// The version that is there; `None` if there is no entry.
        current: Option<Version>,
    },
    /// A value or a call is larger than may be. The plugin's to mend.
    #[error("{what} is too large: {size} where {limit} are allowed")]
    TooLarge {
        /// What is too large, with the unit of the sizes.
        what: &'static str,
        /// How large it is; for what is read, how large it was when it became too large.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// The key can't be one. The plugin's to mend.
    #[error("not a key: {why}")]
    InvalidKey {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The time to live is shorter than a millisecond or longer than ten years. The plugin's to mend.
    #[error("not a time to live: it must be from 1 millisecond to 10 years")]
    InvalidTtl,
    /// What should be counted up is not a decimal number in text of 64 bits. The plugin's to mend.
    #[error("the entry is not a whole decimal number of 64 bits, so nothing can be added to it")]
    NotANumber,
    /// The sum does not fit into 64 bits. The plugin's to mend.
    #[error("the sum does not fit into 64 bits")]
    Overflow,
    /// What is kept can't be read. The operator's to mend.
    #[error("state is damaged: {what}")]
    Corrupt {
        /// What was found, where, and what to do.
        what: String,
    },
    /// The file is of something else. The operator's to mend.
    #[error("not a state file: {what}")]
    Foreign {
        /// What was found, where, and what to do.
        what: String,
    },
    /// The file was written by a newer release. The operator's to mend.
    #[error(
        "{place} has schema {found}, and this release knows schemas up to {known}: run the newer release, or \
         restore a backup made before it"
    )]
    NewerSchema {
        /// The file.
        place: String,
        /// The schema's number in it.
        found: u32,
        /// The newest one that is known here.
        known: u32,
    },
}

/// Which quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaKind {
    /// The number of keys.
    Keys,
    /// The bytes of keys and values together.
    Bytes,
}

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The plugin, and so its author.
    Plugin,
    /// Whoever runs the server.
    Operator,
}

impl StateError {
    /// Who can do something about it.
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

    /// What a plugin and its client may be told: never a path or an inner error.
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

    /// [`StateError::TooLarge`] if `size` is beyond `limit`.
    pub(super) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Self> {
        if size <= limit {
            return Ok(());
        }
        Err(Self::TooLarge { what, size: size as u64, limit: limit as u64 })
    }
}

impl QuotaKind {
    /// What gives the store more of it.
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
