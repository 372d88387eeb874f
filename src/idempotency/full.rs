//! Clients that have used up their keys. Finding that out takes a write, which delays other clients' writes,
//! so the result is cached briefly: a client that keeps asking costs only an occasional write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::state::StateError;
use crate::sync::locked;

/// The lifetime of a cached refusal. A key freed by its window goes unnoticed for no longer than this.
pub(super) const HOLDS: Duration = Duration::from_millis(250);

/// The clients without room, each with its refusal and the refusal's expiry. Bounded, since clients come from
/// the config.
#[derive(Default)]
pub(super) struct Full(Mutex<HashMap<Arc<str>, (StateError, Instant)>>);

impl Full {
    /// Records that `client` was refused with `error`.
    pub(super) fn note(&self, client: &Arc<str>, error: &StateError) {
        locked(&self.0).insert(Arc::clone(client), (error.clone(), Instant::now() + HOLDS));
    }

    /// Repeats a client's recent refusal.
    pub(super) fn check(&self, client: &str) -> Result<(), StateError> {
        let mut full = locked(&self.0);
        match full.get(client) {
            Some((error, until)) if *until > Instant::now() => Err(error.clone()),
            Some(_) => {
                full.remove(client);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Forgets the refusal of a client that has room again.
    pub(super) fn forget(&self, client: &str) {
        locked(&self.0).remove(client);
    }

    /// Forgets all refusals, since the limits have changed.
    pub(super) fn clear(&self) {
        locked(&self.0).clear();
    }
}
