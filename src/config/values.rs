//! The values of a config file: paths, digests and choices among a few words.
//!
//! Each type can only be built from a valid text; the error says what to write instead. Knows nothing of
//! files, spans or ranges.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::identity::{ClientUri, Thumbprint, ThumbprintError, UriError};
use crate::text::InvalidText;

/// The path of a file, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathText(pub(super) PathBuf);

impl TryFrom<String> for PathText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if text.contains("-----BEGIN") {
            let what = "this must be the path of a file, not its contents";
            return Err(
                InvalidText::new(what).advise("put the PEM text into a file, and write the file's path")
            );
        }
        if text.starts_with('~') {
            let advice = "write the whole path; or `./~…` for what has such a name in this file's folder";
            return Err(InvalidText::new("`~` is not expanded").advise(advice));
        }
        if text.is_empty() {
            return Err(InvalidText::new("a path can't be empty"));
        }
        if text.contains('\0') {
            return Err(InvalidText::new("a path can't hold a NUL character"));
        }
        Ok(Self(text.into()))
    }
}

/// A file to include, or with `*` in its name all those of one folder.
pub(super) struct IncludePattern {
    /// Their folder, as written.
    pub(super) folder: PathBuf,
    /// The pattern of their names.
    pub(super) name: String,
}

impl TryFrom<String> for IncludePattern {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        const ADVICE: &str = "write a file, or a pattern of files in one folder, such as \"conf.d/*.toml\"";
        let PathText(path) = PathText::try_from(text.clone())?;
        let (folder, name) = text.rsplit_once('/').map_or(("", &*text), |(folder, name)| (folder, name));
        if matches!(name, "" | "." | "..") {
            return Err(InvalidText::new("this is a folder").advise(ADVICE));
        }
        if folder.contains('*') {
            return Err(InvalidText::new("`*` may stand only in the name of the files").advise(ADVICE));
        }
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { folder, name: name.to_owned() })
    }
}

/// A certificate's thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PinText(pub(super) Thumbprint);

impl TryFrom<String> for PinText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        text.parse().map(Self).map_err(|error: ThumbprintError| {
            InvalidText::new(error.to_string()).advise(match error {
                ThumbprintError::Path => "a path goes into `certificates`",
                _ => {
                    "write a SHA-256, 64 hexadecimal digits, or a SHA-1, 40: `lictor cert thumbprint FILE` prints a \
                     certificate's"
                }
            })
        })
    }
}

/// A URI that identifies a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UriText(pub(super) ClientUri);

impl TryFrom<String> for UriText {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let advice = "write it as the certificate has it: `openssl x509 -in FILE -noout -ext subjectAltName` prints it";
        text.parse().map(Self).map_err(|error: UriError| InvalidText::new(error.to_string()).advise(advice))
    }
}

/// A key of `[plugins.NAME.config]`: any text, since the plugin chooses it.
pub(super) struct SettingName(pub(super) String);

/// A value of `[plugins.NAME.config]`: any text.
pub(super) struct PluginSetting(pub(super) String);

impl TryFrom<String> for SettingName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Ok(Self(text))
    }
}

impl TryFrom<String> for PluginSetting {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Ok(Self(text))
    }
}

/// The name of a credential that systemd passes to the service: one of a file in its folder.
pub(super) struct CredentialName(pub(super) String);

/// The name of an environment variable.
pub(super) struct VariableName(pub(super) String);

impl TryFrom<String> for CredentialName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let advice = "write it as `LoadCredential=` in the service's unit has it; a path goes into `file`";
        let what = match text.as_str() {
            "" => "a name can't be empty",
            "." | ".." => "this names a folder",
            _ if text.contains('/') => "this is a path, and a credential has a name",
            _ if text.contains('\0') => "a name can't hold a NUL character",
            _ => return Ok(Self(text)),
        };
        Err(InvalidText::new(what).advise(advice))
    }
}

impl TryFrom<String> for VariableName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let advice = "write the variable's name alone, such as \"DEPLOY_TOKEN\"";
        let what = match text.as_str() {
            "" => "a name can't be empty",
            _ if text.contains('=') => "a name holds no `=`: its value stays in the environment",
            _ if text.contains('\0') => "a name can't hold a NUL character",
            _ => return Ok(Self(text)),
        };
        Err(InvalidText::new(what).advise(advice))
    }
}

/// The SHA-256 of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest(pub(super) [u8; 32]);

impl TryFrom<String> for Digest {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let advice = "`sha256sum FILE` prints it";
        match text.parse() {
            Ok(Thumbprint::Sha256(digest)) => Ok(Self(digest)),
            Ok(Thumbprint::Sha1(_)) => {
                let what = "it has 40 hexadecimal digits, as a SHA-1 has; a SHA-256 has 64";
                Err(InvalidText::new(what).advise(advice))
            }
            Err(ThumbprintError::Untaken(name)) => {
                Err(InvalidText::new(format!("{name} is not supported: write the SHA-256")).advise(advice))
            }
            Err(error) => Err(InvalidText::new(error.to_string()).advise(advice)),
        }
    }
}

/// An enum whose variants are words of the config file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The words of the config file, one for each variant.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// Returns the variant's word in the config file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                match text.as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(super::suggestions::no_such_choice(&text, Self::WORDS)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

choice! {
    /// A version of TLS.
    TlsVersion {
        /// TLS 1.2, for clients that speak nothing newer.
        V1_2 = "1.2",
        /// TLS 1.3.
        #[default]
        V1_3 = "1.3",
    }
}
choice! {
    /// The lifetime of a plugin's instance.
    Instances {
        /// One request: nothing that a request leaves behind is visible to the next.
        #[default]
        PerRequest = "per-request",
        /// Kept warm, each for one client only.
        PerClient = "per-client",
        /// Kept warm for all clients: the operator vouches that the plugin keeps nothing between calls.
        Shared = "shared",
    }
}
choice! {
    /// The verbosity of the log.
    LogLevel {
        /// Server faults only.
        Error = "error",
        /// Warnings too: conditions that an operator should look at.
        Warn = "warn",
        /// Events too.
        #[default]
        Info = "info",
        /// Details of events too.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}
choice! {
    /// The format of the log.
    LogFormat {
        /// Human-readable on a terminal, JSON otherwise.
        #[default]
        Auto = "auto",
        /// Human-readable.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}
choice! {
    /// The storage of plugins' state.
    StateEngine {
        /// In the process; lost when it ends.
        #[default]
        Memory = "memory",
        /// In a SQLite file.
        Sqlite = "sqlite",
    }
}
