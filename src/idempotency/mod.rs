//! Answers stored by their requests' `Idempotency-Key`, so that a repeated request gets the same answer and
//! is not run again.
//!
//! `fingerprint` tells requests apart, `record` is the stored form, `claim` the right to run a request,
//! `kept` a stored answer not yet read, `full` the clients without room for further keys. An engine stores it
//! all, in one namespace for each client, which no plugin can be granted.
//!
//! Knows no connection, no plugin and no config file, and does not authorize: the caller has done that.
//!
//! # Guarantees
//!
//! - **Once.** Of a client's requests with the same key only one runs at a time, and none after one that has
//!   begun, until that one is forgotten, [`Limits::window`] after its answer.
//! - **Marked before it runs.** The start of a command is recorded, as durably as the engine can, before the
//!   command runs. A server that dies meanwhile finds the mark, and says that the outcome is unknown.
//! - **Stored before it is sent.** An answer is written before its client gets it; an answer that a client
//!   has read, it gets again.
//! - **Never begun, never stored.** A request that ends as `not-run` leaves its key free.
//! - **Read on demand.** An answer is read only when the caller has room for it, and is not copied while it
//!   is written.
//! - **Bounded.** A claim holds its client's place until its final write is done; and a client that has used
//!   up its keys is refused further ones without a write.

mod claim;
mod fingerprint;
mod full;
mod kept;
#[cfg(test)]
mod ledger_tests;
mod record;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use claim::Claim;
pub use kept::Kept;

use self::claim::{HasBegun, Held};
use self::fingerprint::Fingerprint;
use self::full::Full;
use self::record::Record;
use crate::state::{Blame, Engine, Expected, Key, Namespace, Quota, StateError, Store, Ttl};
use crate::sync::locked;
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::wire::{Code, CommandError, Request};

/// Stands in for a plugin's name, which never begins with `@`.
const NAMESPACE: &str = "@idempotency";

/// The reply to the client.
pub type Answer = Result<Vec<u8>, CommandError>;

/// Bounds on stored answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time an answer is stored; zero disables keys.
    pub window: Duration,
    /// The most keys of one client. Each part of an answer stored in parts counts as one.
    pub max_keys: u64,
    /// The most bytes of one client, keys and answers together.
    pub max_bytes: u64,
}

/// The store of answers. Clones share the same ledger.
#[derive(Clone)]
pub struct Ledger {
    engine: Arc<dyn Engine>,
    limits: Limits,
    open: Arc<Open>,
}

/// State carried over from one ledger to its successor.
#[derive(Default)]
struct Open {
    /// The running requests, by client and key, with their fingerprints.
    running: Mutex<HashMap<(Arc<str>, Key), Fingerprint>>,
    /// The final writes of claims, which may have no other waiter. Each belongs to a key counted in its
    /// client's quota, so they are bounded.
    settling: TaskTracker,
    /// The clients without room for further keys.
    full: Full,
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
    /// It was run before; read its answer.
    Kept(Kept),
    /// Do not run it, for this reason.
    Refused(CommandError),
}

impl Ledger {
    /// A ledger that stores answers in `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, limits: Limits) -> Self {
        Self { engine, limits, open: Arc::default() }
    }

    /// Returns a ledger with another engine and other limits; both know the running requests.
    #[must_use]
    pub fn renewed(&self, engine: Arc<dyn Engine>, limits: Limits) -> Self {
        self.open.full.clear();
        Self { engine, limits, open: Arc::clone(&self.open) }
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
        let refused = |error: StateError| self.refusal(asked.client, &error);
        let key = Key::new(asked.key).map_err(refused)?;
        let fingerprint = Fingerprint::of(asked.request);
        let store = self.store(asked.client).await.map_err(refused)?;
        // Checked before the key counts as running, so that concurrent requests for a stored answer all get
        // it.
        if let Some(stat) = store.stat(&key).await.map_err(refused)? {
            let owner = (Arc::clone(asked.client), key.clone());
            let running = locked(&self.open.running).get(&owner).copied();
            running.map_or(Ok(()), |other| Err(refused_beside(other, fingerprint)))?;
            let kept = Kept::of(self.clone(), Arc::clone(asked.client), store, key, fingerprint, stat);
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
        let quota = Quota { max_keys: self.limits.max_keys, max_bytes: self.limits.max_bytes };
        self.engine.open(Namespace::new(NAMESPACE, client), quota).await
    }

    /// The reply to a client whose key can't be looked up or written.
    fn refusal(&self, client: &str, error: &StateError) -> CommandError {
        match error {
            StateError::QuotaExceeded { kind, limit, .. } => {
                Counter::IdempotencyKeysUsedUp.count();
                let words = format!(
                    "The Idempotency-Keys of the last {:?} take up this client's {limit} {kind}; send it again later",
                    self.limits.window
                );
                CommandError::not_run(Code::RateLimited, words)
            }
            // Another process writes to the same state.
            StateError::Conflict { .. } => still_running(),
            error => {
                if error.blame() == Blame::Operator {
                    tracing::error!(
                        name: LASTING, target: "lictor::command", client, %error,
                        "an Idempotency-Key cannot be kept"
                    );
                }
                let words = "The Idempotency-Key cannot be kept; try again later";
                CommandError::not_run(Code::Unavailable, words)
            }
        }
    }
}

/// The refusal of a key for a command that streams: no answer of such a command is stored.
#[must_use]
pub fn refused_of_stream() -> CommandError {
    let words = "A command that streams takes no Idempotency-Key; send the request without one";
    CommandError::not_run(Code::BadArguments, words)
}

fn still_running() -> CommandError {
    let words = "The request with this Idempotency-Key is still running; try again later";
    CommandError::not_run(Code::Conflict, words)
}

/// The refusal of a request whose key is in use by the running request `other`.
fn refused_beside(other: Fingerprint, request: Fingerprint) -> CommandError {
    if other == request { still_running() } else { other_request() }
}

fn other_request() -> CommandError {
    let words = "This Idempotency-Key was sent with another request; each request needs a key of its own";
    CommandError::not_run(Code::Conflict, words)
}

/// Marks a key's request as running until dropped.
struct Running {
    open: Arc<Open>,
    owner: (Arc<str>, Key),
}

impl Running {
    /// Marks a request as running; refuses if it, or another with its key, already is.
    fn enter(
        open: &Arc<Open>,
        client: &Arc<str>,
        key: &Key,
        fingerprint: Fingerprint,
    ) -> Result<Self, CommandError> {
        use std::collections::hash_map::Entry;
        let owner = (Arc::clone(client), key.clone());
        match locked(&open.running).entry(owner.clone()) {
            Entry::Occupied(other) => Err(refused_beside(*other.get(), fingerprint)),
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
