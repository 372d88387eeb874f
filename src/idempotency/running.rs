//! The running requests with a key, which a ledger hands on to its successor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio_util::task::TaskTracker;

use super::fingerprint::Fingerprint;
use super::full::Full;
use super::refusals;
use crate::state::Key;
use crate::sync::locked;
use crate::wire::CommandError;

/// State carried over from one ledger to its successor.
#[derive(Default)]
pub(super) struct Open {
    /// The running requests, by client and key, with their fingerprints.
    pub(super) running: Mutex<HashMap<(Arc<str>, Key), Fingerprint>>,
    /// The final writes of claims, which may have no other waiter. Each belongs to a key counted in its
    /// client's quota, so they are bounded.
    pub(super) settling: TaskTracker,
    /// The clients without room for further keys.
    pub(super) full: Full,
}

/// Marks a key's request as running until dropped.
pub(super) struct Running {
    pub(super) open: Arc<Open>,
    owner: (Arc<str>, Key),
}

impl Running {
    /// Returns the name of the request's client.
    pub(super) fn client(&self) -> &str {
        &self.owner.0
    }

    /// Marks a request as running; refuses if it, or another with its key, already is.
    pub(super) fn enter(
        open: &Arc<Open>,
        client: &Arc<str>,
        key: &Key,
        fingerprint: Fingerprint,
    ) -> Result<Self, CommandError> {
        use std::collections::hash_map::Entry;
        let owner = (Arc::clone(client), key.clone());
        match locked(&open.running).entry(owner.clone()) {
            Entry::Occupied(other) => Err(refusals::beside(*other.get(), fingerprint)),
            Entry::Vacant(place) => {
                place.insert(fingerprint);
                Ok(Self { open: Arc::clone(open), owner })
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        locked(&self.open.running).remove(&self.owner);
    }
}
