//! Operations on the whole server, requested by operators and carried out by the code that assembled the
//! server.

use std::pin::Pin;
use std::time::SystemTime;

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

    /// Metrics of the config and its reloads.
    fn metrics(&self) -> Vec<Family>;

    /// The ends of the certificates that the config names, without clients'.
    fn certificate_ends(&self) -> Vec<CertificateEnd>;

    /// Stops the server as a signal would.
    fn drain(&self);
}
