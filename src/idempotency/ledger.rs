//! The ledger: the decision about each request with a key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::claim::{Claim, HasBegun, Held};
use super::fingerprint::Fingerprint;
use super::kept::Kept;
use super::record::Record;
use super::refusals;
use super::running::{Open, Running};
use crate::state::{Engine, Expected, Key, Namespace, Quota, StateError, Store, Ttl};
use crate::sync::locked;
use crate::wire::{Code, CommandError, Request};

/// Stands in for a plugin's name, which never begins with `@`.
const NAMESPACE: &str = "@idempotency";

/// Bounds on stored answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time an answer is stored; zero disables keys.
    pub window: Duration,
    /// The most keys of one client. Each part of an answer stored in parts counts as one.
    pub max_keys: u64,
    /// The most bytes of one client, keys and answers together.
    pub max_bytes: u64,
    /// Both, for clients with limits of their own.
    pub of_clients: BTreeMap<Arc<str>, Quota>,
}

/// The store of answers. Clones share the same ledger.
#[derive(Clone)]
pub struct Ledger {
    engine: Arc<dyn Engine>,
    limits: Arc<Limits>,
    open: Arc<Open>,
}

/// A request with a key.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client's name.
    pub client: &'a Arc<str>,
    /// The key.
    pub key: &'a str,
    /// The request.
    pub request: &'a Request,
    /// The time it may still run.
    pub time_left: Duration,
}

/// The decision about a request.
pub enum Claimed<P: Send + 'static> {
    /// Run it now, then [settle](Claim::settle) the claim.
    Free(Claim<P>),
    /// The request ran before; read its answer.
    Kept(Kept),
    /// Do not run it, for this reason.
    Refused(CommandError),
}

impl Ledger {
    /// Makes a ledger that stores answers in `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, limits: Limits) -> Self {
        Self { engine, limits: Arc::new(limits), open: Arc::default() }
    }

    /// Returns a ledger with another engine and other limits; both know the running requests.
    #[must_use]
    pub fn renewed(&self, engine: Arc<dyn Engine>, limits: Limits) -> Self {
        self.open.full.clear();
        Self { engine, limits: Arc::new(limits), open: Arc::clone(&self.open) }
    }

    /// Returns a ledger with other limits; both know the running requests.
    #[must_use]
    pub fn limited(&self, limits: Limits) -> Self {
        self.renewed(Arc::clone(&self.engine), limits)
    }

    /// Claims the right to run a request, in the `place` that its client has for it. `has_begun` tells at any
    /// time whether the command has begun: a claim dropped before that leaves the key free.
    pub async fn claim<P: Send + 'static>(
        &self,
        asked: Asked<'_>,
        place: P,
        has_begun: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Claimed<P> {
        self.take(asked, place, Box::new(has_begun)).await.unwrap_or_else(Claimed::Refused)
    }

    /// Finds out if the engine answers.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn check(&self) -> Result<(), StateError> {
        self.engine.check().await
    }

    /// Waits for the final writes of claims. Close the engine only after this.
    pub async fn close(&self) {
        self.open.settling.close();
        self.open.settling.wait().await;
    }

    /// Implements [`Self::claim`], with a refusal as the error.
    async fn take<P: Send + 'static>(
        &self,
        asked: Asked<'_>,
        place: P,
        has_begun: HasBegun,
    ) -> Result<Claimed<P>, CommandError> {
        if self.limits.window.is_zero() {
            let words = "This server keeps no Idempotency-Keys; send the request without one";
            return Err(CommandError::not_run(Code::Unavailable, words));
        }
        let refused = |error: StateError| refusals::by_state(asked.client, &error, self.limits.window);
        let key = Key::new(asked.key).map_err(refused)?;
        let fingerprint = Fingerprint::of(asked.request);
        let store = self.store(asked.client).await.map_err(refused)?;
        // Checked before the key counts as running, so that concurrent requests for a stored answer all get
        // it.
        if let Some(stat) = store.stat(&key).await.map_err(refused)? {
            let owner = (Arc::clone(asked.client), key.clone());
            let running = locked(&self.open.running).get(&owner).copied();
            running.map_or(Ok(()), |other| Err(refusals::beside(other, fingerprint)))?;
            let kept =
                Kept::of(Arc::clone(asked.client), self.limits.window, (store, key), fingerprint, stat);
            return kept.await.map(Claimed::Kept).map_err(refused);
        }
        // If another claim began and ended since the check, the write below finds its record, and refuses.
        let running = Running::enter(&self.open, asked.client, &key, fingerprint)?;
        self.open.full.check(asked.client).map_err(refused)?;
        let ttl = Ttl::new(self.limits.window.saturating_add(asked.time_left)).map_err(refused)?;
        let mark = Record::Begun.encode(fingerprint).map_err(refused)?;
        let held = Held::new(running, Arc::clone(&store), key.clone(), fingerprint, self.limits.window);
        // From here on, every early return removes the mark again.
        let claim = Claim::new(held, place, has_begun);
        match store.compare_and_set(key, Expected::Absent, mark, Some(ttl)).await {
            Ok(_) => Ok(Claimed::Free(claim)),
            Err(error @ StateError::QuotaExceeded { .. }) => {
                claim.withdraw();
                self.open.full.note(asked.client, &error);
                Err(refused(error))
            }
            Err(error @ StateError::Conflict { .. }) => {
                claim.withdraw();
                Err(refused(error))
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn store(&self, client: &str) -> Result<Arc<dyn Store>, StateError> {
        let Limits { max_keys, max_bytes, of_clients, .. } = &*self.limits;
        let of_every = Quota { max_keys: *max_keys, max_bytes: *max_bytes };
        let quota = of_clients.get(client).copied().unwrap_or(of_every);
        self.engine.open(Namespace::new(NAMESPACE, client), quota).await
    }
}
