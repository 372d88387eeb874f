//! Answers kept by their requests' `Idempotency-Key`, so that a request that is sent again is answered again and not run
//! again.
//!
//! `fingerprint` tells one request from another, `record` is what is kept of one, `claim` the right to run it, `kept` an answer
//! that was not read yet, `full` who has no room for further keys. Where it is all kept is an engine's affair, in a namespace for
//! each client that no plugin can be granted.
//!
//! Knows no connection, no plugin and no config file, nor who may run what: whoever asks has looked at that.
//!
//! # What holds
//!
//! - **Once.** Of all requests of a client with the same key one runs at a time, and none after one that began, until that
//!   is forgotten: the [`Limits::window`] after its answer.
//! - **Before it runs.** That a command begins is written as durably as the engine can before it does. A server that dies
//!   meanwhile finds the mark, and says that the outcome is not known.
//! - **Before it is told.** An answer is written before its client gets it; what a client has read it gets again.
//! - **Never begun, never kept.** What ends as `not-run` leaves its key free.
//! - **Nothing unasked.** An answer is read when whoever asks has room for it, and is not copied while it is written.
//! - **Bounded.** What a claim has to write, it writes in the place that its client has for it; and a client with all the keys
//!   that it may have is refused others without a write.

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

/// In place of a plugin's name, which never begins so.
const NAMESPACE: &str = "@idempotency";

/// What a client is told.
pub type Answer = Result<Vec<u8>, CommandError>;

/// Bounds on what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long an answer is kept; zero takes no keys at all.
    pub window: Duration,
    /// The most keys of one client. A part of an answer that is kept in parts counts as one.
    pub max_keys: u64,
    /// The most bytes of one client, keys and answers together.
    pub max_bytes: u64,
}

/// The answers that are kept. Its clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {
    engine: Arc<dyn Engine>,
    limits: Limits,
    open: Arc<Open>,
}

/// What goes on from one ledger to the one that takes its place.
#[derive(Default)]
struct Open {
    /// The keys whose requests run, by client and key, and what those are.
    running: Mutex<HashMap<(Arc<str>, Key), Fingerprint>>,
    /// The writes that end a claim, which nobody may be there to wait for. Each belongs to a key that is counted in its
    /// client's quota, so that they are bounded.
    settling: TaskTracker,
    /// Who has no room for further keys.
    full: Full,
}

/// A request with a key.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whose it is.
    pub client: &'a Arc<str>,
    /// The key.
    pub key: &'a str,
    /// The request.
    pub request: &'a Request,
    /// How long it may run.
    pub time_left: Duration,
}

/// What is to be done with a request.
pub enum Claimed<P: Send + 'static> {
    /// It is run now, and its end is [settled](Claim::settle).
    Free(Claim<P>),
    /// It was run before, and there is an answer to be read.
    Kept(Kept),
    /// It is not run, and this is why.
    Refused(CommandError),
}

impl Ledger {
    /// A ledger that keeps answers in `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, limits: Limits) -> Self {
        Self { engine, limits, open: Arc::default() }
    }

    /// The same with another engine and other limits; what runs is known to both.
    #[must_use]
    pub fn renewed(&self, engine: Arc<dyn Engine>, limits: Limits) -> Self {
        self.open.full.clear();
        Self { engine, limits, open: Arc::clone(&self.open) }
    }

    /// Claims the right to run a request, in the `place` that its client has for it. `has_begun` tells at any time whether
    /// its command has: a claim that is dropped before that leaves the key free.
    pub async fn claim<P: Send + 'static>(
        &self,
        asked: Asked<'_>,
        place: P,
        has_begun: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Claimed<P> {
        self.take(asked, place, Box::new(has_begun)).await.unwrap_or_else(Claimed::Refused)
    }

    /// Waits for the writes that end claims. The engine is to be closed after it.
    pub async fn close(&self) {
        self.open.settling.close();
        self.open.settling.wait().await;
    }

    /// The same, with a refusal as the error.
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
        // Looked up before the key counts as running, so that all who ask at once for a kept answer get it.
        if let Some(stat) = store.stat(&key).await.map_err(refused)? {
            let owner = (Arc::clone(asked.client), key.clone());
            let running = locked(&self.open.running).get(&owner).copied();
            running.map_or(Ok(()), |other| Err(refused_beside(other, fingerprint)))?;
            let kept = Kept::of(self.clone(), Arc::clone(asked.client), store, key, fingerprint, stat);
            return kept.await.map(Claimed::Kept).map_err(refused);
        }
        // Where another claim began and ended since the look, the write below finds what it kept, and refuses.
        let running = Running::enter(&self.open, asked.client, &key, fingerprint)?;
        self.open.full.check(asked.client).map_err(refused)?;
        let ttl = Ttl::new(self.limits.window.saturating_add(asked.time_left)).map_err(refused)?;
        let mark = Record::Begun.encode(fingerprint).map_err(refused)?;
        let held = Held::new(running, Arc::clone(&store), key.clone(), fingerprint, self.limits.window);
        // From here on whatever ends this early takes the mark away again.
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

    /// What a client is told whose key can't be looked up or written down.
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

/// What a request with a key is told whose command streams: no answer of such a one is kept.
#[must_use]
pub fn refused_of_stream() -> CommandError {
    let words = "A command that streams takes no Idempotency-Key; send the request without one";
    CommandError::not_run(Code::BadArguments, words)
}

fn still_running() -> CommandError {
    let words = "The request with this Idempotency-Key is still running; try again later";
    CommandError::not_run(Code::Conflict, words)
}

/// What a request is told under whose key `other` runs.
fn refused_beside(other: Fingerprint, request: Fingerprint) -> CommandError {
    if other == request { still_running() } else { other_request() }
}

fn other_request() -> CommandError {
    let words = "This Idempotency-Key was sent with another request; each request needs a key of its own";
    CommandError::not_run(Code::Conflict, words)
}

/// That a key's request runs; over when dropped.
struct Running {
    open: Arc<Open>,
    owner: (Arc<str>, Key),
}

impl Running {
    /// Notes that a request runs, or tells that it, or another with its key, does already.
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
