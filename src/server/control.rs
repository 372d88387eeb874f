//! Operations on the whole server, requested by operators and carried out by the code that assembled the
//! server.

use std::pin::Pin;

/// The future result of an operation.
pub type Done = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Implements `@reload`, `@status` and `@drain`.
pub trait Control: Send + Sync {
    /// Reloads the config: returns the changes, in lines, or the reason why it stays as it is.
    fn reload(&self) -> Done;

    /// Describes the config and its last reload, in lines.
    fn status(&self) -> String;

    /// Stops the server as a signal would.
    fn drain(&self);
}
