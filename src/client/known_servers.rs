//! The list of servers that the user trusts, one a line: `ADDRESS sha256:<hex>`.
//!
//! A server may have several lines while it changes its certificate. Text after a `#` is a remark. Unreadable
//! lines are kept unchanged: a faulty line never counts as trust, nor as permission to ask for trust again.
//! Makes no decisions: the caller that asks the user does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Address, private_file};
use crate::files::read_named;
use crate::identity::{Thumbprint, ThumbprintError};

/// Maximum bytes of the file: some 10,000 servers.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// The user's config folder, `$XDG_CONFIG_HOME/lictor` or `~/.config/lictor`; `None` if the environment names
/// no home.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    folder_in(std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from), std::env::home_dir())
}

fn folder_in(config: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // The XDG specification declares relative paths invalid, and such a folder would change with the current
    // one.
    let config = config.filter(|path| path.is_absolute());
    config
        .or_else(|| Some(home.filter(|path| path.is_absolute())?.join(".config")))
        .map(|path| path.join("lictor"))
}

/// The file of trusted servers, as read.
#[derive(Clone, Debug)]
pub struct KnownServers {
    path: PathBuf,
    text: String,
    servers: Vec<Entry>,
    bad_lines: Vec<BadLine>,
}

#[derive(Clone, Debug)]
struct Entry {
    address: String,
    thumbprint: Thumbprint,
    line: usize,
}

/// An unreadable line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// The fault.
    pub reason: String,
    /// Its first word: presumably the server's address.
    address: String,
}

/// The entry for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    No,
    /// The server's certificates.
    Yes(Vec<Thumbprint>),
}

/// Reasons why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownServersError {
    /// Cannot be read or written.
    #[error("cannot use the list of known servers {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line about this server is unreadable, so its intent is unknown.
    #[error(
        "{}:{line}: this line is about {address} and cannot be read: {reason}\n\
         Correct or delete the line.", .path.display()
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line's number.
        line: usize,
        /// The server.
        address: String,
        /// The fault.
        reason: String,
    },
    /// The server presents another certificate than the known one.
    #[error(
        "THE CERTIFICATE OF {address} HAS CHANGED. Somebody may be posing as the server.\n\
         it now presents  sha256:{presented}\n\
         trusted so far   {known}  ({}, line {line})\n\
         Nothing was sent. If the server's operator confirms the new thumbprint (lictor cert thumbprint FILE on the \
         server), delete line {line} of {} and connect again.", .path.display(), .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The line of the known certificate.
        line: usize,
        /// The server.
        address: String,
        /// The known certificate.
        known: PinText,
        /// The certificate presented now.
        presented: Thumbprint,
    },
}

/// A thumbprint with its algorithm as a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinText(Thumbprint);

impl fmt::Display for PinText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` prints a thumbprint in the form of pins.
        write!(f, "{:?}", self.0)
    }
}

impl KnownServers {
    /// Reads the file; if it does not exist, no server is known.
    ///
    /// # Errors
    /// If the file exists and cannot be read.
    pub fn load(path: &Path) -> Result<Self, KnownServersError> {
        let fault = |source| KnownServersError::Io { path: path.to_owned(), source };
        let text = match read_named(path, MAX_FILE_BYTES as u64) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| fault(io::Error::other(error)))?,
            Err(missing) if missing.is_missing() => String::new(),
            Err(unreadable) => return Err(fault(io::Error::other(unreadable.what()))),
        };
        Ok(Self::parse(path, text))
    }

    fn parse(path: &Path, text: String) -> Self {
        let (mut servers, mut bad_lines) = (Vec::new(), Vec::new());
        // Windows editors put a byte order mark before a text.
        let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
        for (number, line) in (1..).zip(lines) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (first, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            match parse_line(first, rest) {
                Ok((address, thumbprint)) => servers.push(Entry { address, thumbprint, line: number }),
                Err(reason) => {
                    let address =
                        first.parse::<Address>().map_or(first.to_owned(), |address| address.to_string());
                    bad_lines.push(BadLine { line: number, reason, address });
                }
            }
        }
        Self { path: path.to_owned(), text, servers, bad_lines }
    }

    /// The unreadable lines.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad_lines
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks up the server at `address`.
    ///
    /// # Errors
    /// If a line about it is unreadable.
    pub fn look_up(&self, address: &Address) -> Result<Known, KnownServersError> {
        let address = address.to_string();
        if let Some(bad) = self.bad_lines.iter().find(|bad| bad.address == address) {
            let (path, line, reason) = (self.path.clone(), bad.line, bad.reason.clone());
            return Err(KnownServersError::BadLine { path, line, address, reason });
        }
        let known: Vec<_> = self
            .servers
            .iter()
            .filter(|entry| entry.address == address)
            .map(|entry| entry.thumbprint)
            .collect();
        Ok(if known.is_empty() { Known::No } else { Known::Yes(known) })
    }

    /// The error for a known server that presents another certificate.
    #[must_use]
    pub fn changed(&self, address: &Address, presented: Thumbprint) -> Option<KnownServersError> {
        let address = address.to_string();
        let entry = self.servers.iter().rfind(|entry| entry.address == address)?;
        let (path, line, known) = (self.path.clone(), entry.line, PinText(entry.thumbprint));
        Some(KnownServersError::Changed { path, line, address, known, presented })
    }

    /// Adds a server. Reads the file again first, as another program may have changed it.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub fn add(&mut self, address: &Address, thumbprint: Thumbprint) -> Result<(), KnownServersError> {
        let fault = |path: &Path, source| KnownServersError::Io { path: path.to_owned(), source };
        let mut text = Self::load(&self.path)?.text;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{address} {}\n", PinText(thumbprint)));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        private_file::create_folder(folder).map_err(|source| fault(folder, source))?;
        private_file::replace(&self.path, text.as_bytes()).map_err(|source| fault(&self.path, source))?;
        *self = Self::parse(&self.path, text);
        Ok(())
    }
}

fn parse_line(address: &str, pin: &str) -> Result<(String, Thumbprint), String> {
    let address: Address = address.parse().map_err(|error: super::AddressError| error.to_string())?;
    let pin = pin.split('#').next().unwrap_or_default().trim_end();
    if pin.is_empty() {
        return Err("it names no thumbprint; write ADDRESS sha256:HEX".to_owned());
    }
    let thumbprint: Thumbprint = pin.parse().map_err(|error: ThumbprintError| error.to_string())?;
    Ok((address.to_string(), thumbprint))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn parse(text: &str) -> KnownServers {
        KnownServers::parse(Path::new("known"), text.to_owned())
    }

    #[test]
    fn good_lines_count_and_bad_ones_are_told() {
        let one = "11".repeat(32);
        let text = format!(
            "# servers\n\nA.example sha256:{one} # of the lab\r\nb.example\nb.example:4888 sha256:12\n\
             c d e\n[::1]:9   sha1:{}\na.example:4888 sha256:{}\n: x\n",
            "22".repeat(20),
            "33".repeat(32)
        );
        let known = parse(&text);
        let lines: Vec<_> = known.bad_lines().iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [4, 5, 6, 9]);
        assert!(matches!(known.look_up(&address("a.example")).unwrap(), Known::Yes(pins) if pins.len() == 2));
        assert!(matches!(known.look_up(&address("[::1]:9")).unwrap(), Known::Yes(_)));
        assert_eq!(known.look_up(&address("[::1]:10")).unwrap(), Known::No);
        assert_eq!(known.look_up(&address("d.example")).unwrap(), Known::No);
        let error = known.look_up(&address("b.example")).unwrap_err().to_string();
        assert!(error.starts_with("known:4: "), "{error}");
    }

    #[test]
    fn a_byte_order_mark_hides_no_line() {
        let known = parse(&format!("\u{feff}a.example sha256:{}\n", "11".repeat(32)));
        assert!(known.bad_lines().is_empty());
        assert!(matches!(known.look_up(&address("a.example")).unwrap(), Known::Yes(_)));
    }

    #[test]
    fn a_changed_certificate_names_the_file_and_the_line() {
        let known = parse(&format!("#\na.example sha256:{}\n", "11".repeat(32)));
        let presented = Thumbprint::sha256_of(b"new");
        let words = known.changed(&address("a.example"), presented).unwrap().to_string();
        for part in
            ["HAS CHANGED", "a.example:4888", "(known, line 2)", &presented.to_string(), &"11".repeat(32)]
        {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(known.changed(&address("other"), presented).is_none());
    }

    #[test]
    fn adding_keeps_what_is_there_and_what_others_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/known_servers");
        let mut known = KnownServers::load(&path).unwrap();
        let mut other = known.clone();
        known.add(&address("a"), Thumbprint::sha256_of(b"a")).unwrap();
        other.add(&address("b"), Thumbprint::sha256_of(b"b")).unwrap();
        fs::write(&path, format!("{}nonsense", fs::read_to_string(&path).unwrap())).unwrap();
        known.add(&address("c"), Thumbprint::sha256_of(b"c")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let firsts: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(firsts, ["a:4888", "b:4888", "nonsense", "c:4888"]);
        assert!(matches!(known.look_up(&address("b")).unwrap(), Known::Yes(_)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_folder_is_where_xdg_says() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folder_in(path("/c"), path("/h")), path("/c/lictor"));
        assert_eq!(folder_in(path("c"), path("/h")), path("/h/.config/lictor"));
        assert_eq!(folder_in(None, path("/h")), path("/h/.config/lictor"));
        assert_eq!(folder_in(None, None), None);
    }
}
