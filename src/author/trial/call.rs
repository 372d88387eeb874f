//! A call that is made without a server.

use std::str::FromStr as _;

use crate::author::fixtures::decoded;
use crate::config::CommandName;

/// A call of a [`TrialRun`](super::TrialRun).
#[derive(Clone, Debug)]
pub struct TrialCall {
    /// The client that the plugin sees.
    pub client: String,
    /// The request, as that client sends it.
    pub request: Vec<u8>,
}

impl TrialCall {
    /// Returns true if a server carries out the command itself.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        decoded(&self.request).is_ok_and(|request| request.command().starts_with('@'))
    }

    /// Checks that a server would accept the request, whose body may have `body_bytes`.
    ///
    /// # Errors
    ///
    /// The fault in the request.
    pub fn check(&self, body_bytes: usize) -> anyhow::Result<()> {
        let request = decoded(&self.request)?;
        let length = request.body().len();
        anyhow::ensure!(
            length <= body_bytes,
            "its body has {length} bytes, and a server takes {body_bytes} (`body` in its [limits]): make it smaller, or allow more by \
             --body-size"
        );
        CommandName::from_str(request.command())
            .map(drop)
            .map_err(|invalid| anyhow::anyhow!("no plugin can have this command: {}", invalid.in_full()))
    }
}
