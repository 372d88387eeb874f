//! The interfaces to the server: what the pages show, and who sees it.

use std::future::Future;
use std::pin::Pin;

use super::health::Check;

/// The server, as the pages show it.
pub trait Content: Send + Sync {
    /// Returns the metrics in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// In words, the reason why there are none yet.
    fn metrics(&self) -> Result<String, String>;

    /// Checks everything that readiness rests on, in the order in which it is listed.
    fn readiness(&self) -> Pin<Box<dyn Future<Output = Vec<Check>> + Send + '_>>;
}

/// A client on one connection of a listener that knows its visitors.
pub trait Visitor: Send + Sync {
    /// Checks that the client is still admitted, and, with `Asked::Metrics`, that it may see them.
    ///
    /// # Errors
    ///
    /// The refusal, for the client.
    fn check(&self, asked: Asked) -> Result<(), Refusal>;
}

/// The content that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether the server is alive or ready.
    Health,
    /// The metrics.
    Metrics,
}

/// The refusal of a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It lacks a permission.
    Forbidden(String),
    /// It is no longer admitted: the connection ends.
    Gone(String),
}
