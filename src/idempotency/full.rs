//! Which clients have all the keys that they may have. That is found out by a write, which holds up those of others, so it is
//! kept in mind for a moment: a client that goes on asking costs a write now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::state::StateError;
use crate::sync::locked;

/// How long a refusal holds. A key that ends by its window is missed for no longer.
pub(super) const HOLDS: Duration = Duration::from_millis(250);

/// The clients without room, each with the refusal and when it ends. Clients come from the config, so there is a bounded number.
#[derive(Default)]
pub(super) struct Full(Mutex<HashMap<Arc<str>, (StateError, Instant)>>);

impl Full {
    /// Notes that `client` was refused by `error`.
    pub(super) fn note(&self, client: &Arc<str>, error: &StateError) {
        locked(&self.0).insert(Arc::clone(client), (error.clone(), Instant::now() + HOLDS));
    }

    /// Refuses a client by what it was refused by just now.
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
    pub(super) fn has_room(&self, client: &str) {
        locked(&self.0).remove(client);
    }

    /// Forgets all refusals: there are other limits.
    pub(super) fn clear(&self) {
        locked(&self.0).clear();
    }
}
