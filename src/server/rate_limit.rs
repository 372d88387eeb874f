//! Bounds on the requests that a client may send per second.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::refusal::Refusal;
use crate::identity::PeerIdentity;

/// The rates of all clients. Clients come from the config, so their number is bounded.
#[derive(Debug, Default)]
pub struct RateLimits {
    by_client: HashMap<Arc<str>, RateLimit>,
    per_second: Option<NonZeroU32>,
}

/// The rate of one client, over all its connections: so many requests per second, and as many at once. Clones
/// share it.
#[derive(Clone, Debug)]
pub(super) struct RateLimit(Arc<DefaultDirectRateLimiter>);

impl RateLimits {
    /// Makes a rate of `per_second` for each of `clients`; without a number nothing is counted.
    pub fn new(clients: impl IntoIterator<Item = Arc<str>>, per_second: Option<NonZeroU32>) -> Self {
        let Some(per_second) = per_second else { return Self::default() };
        let rate = |client| (client, RateLimit(Arc::new(RateLimiter::direct(Quota::per_second(per_second)))));
        Self { by_client: clients.into_iter().map(rate).collect(), per_second: Some(per_second) }
    }

    /// Returns the rates of `clients`; those already present keep what they have used. If `per_second` has
    /// changed, all start anew.
    #[must_use]
    pub fn renewed(
        &self,
        clients: impl IntoIterator<Item = Arc<str>>,
        per_second: Option<NonZeroU32>,
    ) -> Self {
        let mut renewed = Self::new(clients, per_second);
        if per_second == self.per_second {
            for (client, rate) in &mut renewed.by_client {
                if let Some(old) = self.by_client.get(client) {
                    *rate = old.clone();
                }
            }
        }
        renewed
    }

    /// Returns the rate of a client, if it has one.
    pub(super) fn of(&self, client: &PeerIdentity) -> Option<RateLimit> {
        self.by_client.get(client.name()).cloned()
    }
}

impl RateLimit {
    /// Spends one request of the rate, if there is one left.
    ///
    /// # Errors
    ///
    /// If none is left.
    pub(super) fn spend(&self) -> Result<(), Refusal> {
        self.0.check().map_err(|_| Refusal::OverRate)
    }
}
