//! Each client's part of the calls that run at once, so that one client leaves turns to the others.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::identity::PeerIdentity;

/// The parts of all clients there are. Clients come from the config, so there is a bounded number of them.
#[derive(Debug, Default)]
pub struct Shares {
    by_client: HashMap<Arc<str>, Share>,
}

/// What one client may have running at once, over all its connections. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Share(Arc<Semaphore>);

impl Shares {
    /// A part of `calls` calls at once for each of `clients`.
    pub fn new(clients: impl IntoIterator<Item = Arc<str>>, calls: usize) -> Self {
        let shares = clients.into_iter().map(|client| (client, Share(Arc::new(Semaphore::new(calls)))));
        Self { by_client: shares.collect() }
    }

    /// The part of a client; to be kept with its connection, so that no call has to look it up. A client that is not
    /// there has none, so that it may run nothing.
    #[must_use]
    pub fn of(&self, client: &PeerIdentity) -> Share {
        self.by_client.get(client.name()).cloned().unwrap_or_else(|| Share(Arc::new(Semaphore::new(0))))
    }
}

impl Share {
    pub(super) fn turns(&self) -> &Semaphore {
        &self.0
    }
}
