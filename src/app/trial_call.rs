//! A call that is made without a server.

use super::trials::decoded;

/// A call of a [`TrialRun`](super::TrialRun).
#[derive(Clone, Debug)]
pub struct TrialCall {
    /// The client that the plugin sees.
    pub client: String,
    /// The request, as that client sends it.
    pub request: Vec<u8>,
}

impl TrialCall {
    /// Whether it is a command that a server carries out itself.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        decoded(&self.request).is_ok_and(|request| request.command().starts_with('@'))
    }

    /// Looks whether a server would take its request.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> anyhow::Result<()> {
        decoded(&self.request).map(drop)
    }
}
