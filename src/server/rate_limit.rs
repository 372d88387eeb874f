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
    by_client: HashMap<Arc<str>, (NonZeroU32, RateLimit)>,
}

/// The rate of one client, over all its connections: so many requests per second, and as many at once. Clones
/// share it.
#[derive(Clone, Debug)]
pub(super) struct RateLimit(Arc<DefaultDirectRateLimiter>);

impl RateLimits {
    /// Makes a rate of so many requests per second for each of `clients`. Without a number none is counted.
    pub fn new(clients: impl IntoIterator<Item = (Arc<str>, Option<NonZeroU32>)>) -> Self {
        let rate = |per_second| RateLimit(Arc::new(RateLimiter::direct(Quota::per_second(per_second))));
        let rates = clients.into_iter().filter_map(|(client, per_second)| Some((client, per_second?)));
        Self { by_client: rates.map(|(client, number)| (client, (number, rate(number)))).collect() }
    }

    /// Returns the rates of `clients`. Those already present keep what they have used, unless their number
    /// has changed.
    #[must_use]
    pub fn renewed(&self, clients: impl IntoIterator<Item = (Arc<str>, Option<NonZeroU32>)>) -> Self {
        let mut renewed = Self::new(clients);
        for (client, rate) in &mut renewed.by_client {
            if let Some(old) = self.by_client.get(client).filter(|old| old.0 == rate.0) {
                *rate = old.clone();
            }
        }
        renewed
    }

    /// Returns the rate of a client, if it has one.
    pub(super) fn of(&self, client: &PeerIdentity) -> Option<RateLimit> {
        self.by_client.get(client.name()).map(|(_, rate)| rate.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_whose_number_is_unchanged_keeps_what_it_has_used() {
        let with = |a, b| [("a", a), ("b", b), ("c", 0)].map(|(name, n)| (name.into(), NonZeroU32::new(n)));
        let left = |rates: &RateLimits, client: &str| {
            let rate = &rates.by_client[client].1;
            (0..100).take_while(|_| rate.spend().is_ok()).count()
        };
        let rates = RateLimits::new(with(10, 20));
        assert!(!rates.by_client.contains_key("c"), "nothing is counted without a number");
        assert_eq!((left(&rates, "a"), left(&rates, "b")), (10, 20));
        let renewed = rates.renewed(with(10, 5));
        assert_eq!((left(&renewed, "a"), left(&renewed, "b")), (0, 5));
    }
}
