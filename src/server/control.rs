//! What operators ask of the whole server, carried out by whoever put it together.

use std::pin::Pin;

/// What a control will have done.
pub type Done = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// What stands behind `@reload`, `@status` and `@drain`.
pub trait Control: Send + Sync {
    /// Loads the config anew: what changed, in lines, or why it stays as it is.
    fn reload(&self) -> Done;

    /// What there is to know of the config and its last reload, in lines.
    fn status(&self) -> String;

    /// Has the server stop as a signal would.
    fn drain(&self);
}
