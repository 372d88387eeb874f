//! Each client's part of the calls that run at once, and of those that wait, so that one client leaves turns to the
//! others.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::queue::Queue;
use crate::identity::PeerIdentity;
use crate::plugin::sandbox::Sandbox;
use crate::telemetry::metrics::Counter;
use crate::wire::CommandError;

/// The parts of all clients there are. Clients come from the config, so there is a bounded number of them.
#[derive(Debug, Default)]
pub struct Shares {
    by_client: HashMap<Arc<str>, Share>,
    /// What each is of.
    calls: usize,
    waiting: usize,
}

/// What one client may have running at once, over all its connections. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Share(Arc<Part>);

#[derive(Debug)]
struct Part {
    turns: Arc<Semaphore>,
    /// Those that wait for a turn of this part; each has a place in the sandbox's queue too.
    queue: Queue,
}

impl Shares {
    /// A part of `calls` calls at once for each of `clients`, and of `waiting` that wait for one of these.
    pub fn new(clients: impl IntoIterator<Item = Arc<str>>, calls: usize, waiting: usize) -> Self {
        let shares = clients.into_iter().map(|client| (client, Share::new(calls, waiting)));
        Self { by_client: shares.collect(), calls, waiting }
    }

    /// The parts of these, where those of the clients that were there stay the same ones, calls that run counted in them.
    /// With other bounds all are new.
    #[must_use]
    pub fn renewed(&self, clients: impl IntoIterator<Item = Arc<str>>, calls: usize, waiting: usize) -> Self {
        let mut renewed = Self::new(clients, calls, waiting);
        if (calls, waiting) == (self.calls, self.waiting) {
            for (client, share) in &mut renewed.by_client {
                if let Some(old) = self.by_client.get(client) {
                    *share = old.clone();
                }
            }
        }
        renewed
    }

    /// The part of a client; to be kept with its connection, so that no call has to look it up. A client that is not
    /// there has none, so that it may run nothing.
    #[must_use]
    pub fn of(&self, client: &PeerIdentity) -> Share {
        self.by_client.get(client.name()).cloned().unwrap_or_else(|| Share::new(0, 0))
    }
}

impl Share {
    fn new(calls: usize, waiting: usize) -> Self {
        Self(Arc::new(Part { turns: Arc::new(Semaphore::new(calls)), queue: Queue::new(waiting) }))
    }

    /// One of the calls that the client may have running, where it has fewer.
    pub(in crate::plugin) fn turn_if_free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.turns).try_acquire_owned().ok()
    }

    /// One of the calls that the client may have running; waits for one of them to end where it has as many.
    pub(in crate::plugin) async fn turn(
        &self,
        sandbox: &Sandbox,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, CommandError> {
        if let Some(turn) = self.turn_if_free() {
            return Ok(turn);
        }
        Counter::ClientCallsDelayed.count();
        let _place = self.0.queue.place()?;
        sandbox.wait_for(Arc::clone(&self.0.turns).acquire_owned(), deadline).await
    }
}
