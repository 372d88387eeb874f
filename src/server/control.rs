//! Operations on the whole server, requested by operators and carried out by the code that assembled the
//! server.

use std::pin::Pin;

/// The future result of an operation.
pub type Done = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// The form of a built-in command's result, which the header `Format` chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for a person.
    Text,
    /// One JSON object.
    Json,
}

/// Implements `@reload`, `@status`, `@status unused` and `@drain`.
pub trait Control: Send + Sync {
    /// Reloads the config: returns the changes, in lines, or the reason why it stays as it is.
    fn reload(&self) -> Done;

    /// Describes the config and its last reload, in lines.
    fn status(&self) -> String;

    /// Lists the entries of the config that were not used for `period`, such as `30d`.
    ///
    /// # Errors
    ///
    /// What is wrong with `period`.
    fn unused(&self, period: &str, form: Form) -> Result<String, String>;

    /// Stops the server as a signal would.
    fn drain(&self);
}
