//! A plugin's settings: texts of the config file, and secrets that are kept elsewhere.

use std::fmt;
use std::path::PathBuf;

/// A setting that a plugin reads through `wasi:config`. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// Written in the config file.
    Text(String),
    /// Kept elsewhere.
    Secret {
        /// The place where it is kept.
        place: SecretPlace,
        /// Its text; `None` if it is missing there, or was not needed.
        value: Option<String>,
    },
}

/// The place where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file.
    File(PathBuf),
    /// A credential that systemd passes to the service.
    Credential(String),
    /// An environment variable of this process.
    Variable(String),
}

impl Setting {
    /// The text that the plugin reads; `None` for a secret that was not read.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret { value, .. } => value.as_deref(),
        }
    }

    /// The file that keeps it, if it is a secret in a file.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Text(_) => None,
            Self::Secret { place, .. } => place.file(),
        }
    }
}

impl SecretPlace {
    /// Its file, existing or not; a variable has none.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Credential(name) => credentials_folder().map(|folder| folder.join(name)),
            Self::Variable(_) => None,
        }
    }
}

/// The folder of the credentials that systemd passes to this process.
pub(super) fn credentials_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    folder.is_absolute().then_some(folder)
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
            Self::Secret { place, .. } => {
                f.debug_struct("Secret").field("place", place).finish_non_exhaustive()
            }
        }
    }
}
