//! Operations on the whole server, requested by operators and carried out by the code that assembled the
//! server.

use std::pin::Pin;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use crate::telemetry::metrics::Family;

/// The future result of an operation.
pub type Done = Pin<Box<dyn Future<Output = Result<Report, String>> + Send>>;

/// A result for operators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Lines for a person.
    pub text: String,
    /// An object for a program.
    pub json: Value,
}

/// The end of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateEnd {
    /// `server` or `authority`.
    pub kind: &'static str,
    /// The certificate's name.
    pub name: String,
    /// The time.
    pub ends: SystemTime,
}

/// The words of a request that a line is to allow.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// Just these, the command first.
    Only(&'a [String]),
    /// This command with any arguments.
    Command(&'a str),
}

/// A line of the config as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigLine {
    /// The section that it belongs to.
    pub section: String,
    /// The file of that section.
    pub file: String,
    /// The line at which the section begins.
    pub line: usize,
    /// The text to write.
    pub text: String,
    /// True if it allows this request alone; false if the request is too long for such a pattern, or its
    /// arguments are not known.
    pub is_exact: bool,
}

/// Implements `@reload`, `@status`, `@status unused` and `@drain`.
pub trait Control: Send + Sync {
    /// Reloads the config: returns the changes, or the reason why it stays as it is.
    fn reload(&self) -> Done;

    /// Describes the config and its last reload.
    fn status(&self) -> Report;

    /// Lists the entries of the config that were not used for `period`, such as `30d`.
    ///
    /// # Errors
    ///
    /// What is wrong with `period`.
    fn unused(&self, period: &str) -> Result<Report, String>;

    /// Returns the line of the config that would allow `client` a request of these words; `None` if there is
    /// no such client.
    fn line_to_allow(&self, client: &str, words: Words<'_>) -> Option<ConfigLine>;

    /// Metrics of the config and its reloads.
    fn metrics(&self) -> Vec<Family>;

    /// The ends of the certificates that the config names, without clients'.
    fn certificate_ends(&self) -> Vec<CertificateEnd>;

    /// Stops the server as a signal would.
    fn drain(&self);
}
