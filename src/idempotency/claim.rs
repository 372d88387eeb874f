//! The right to run a request, and the final write of its key.
//!
//! A task that runs a command may be cancelled at any time, when its client disconnects. So the final write
//! of a claim is done by a task of the ledger, and until it is done the key counts as running.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::fingerprint::Fingerprint;
use super::record::{self, PART_BYTES, Record};
use super::running::Running;
use crate::state::{Key, StateError, Store, Ttl, Value};
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::wire::{Outcome, Reply};

/// Predicate: true once the claim's command has begun.
pub(super) type HasBegun = Box<dyn Fn() -> bool + Send + Sync>;

/// The extra lifetime of an answer's parts: whoever reads the record also finds the parts.
const MORE_FOR_PARTS: Duration = Duration::from_secs(60);

/// The right to run a request once, and the place `P` that its client occupies for it. The place is held
/// until the final write is done, so that no client has more pending writes than places.
///
/// Dropped without being [settled](Self::settle), a claim frees the key if the command had not begun;
/// otherwise the mark stays, which says that the outcome is unknown.
pub struct Claim<P: Send + 'static> {
    held: Option<(Held, P)>,
    has_begun: HasBegun,
}

impl<P: Send + 'static> Claim<P> {
    pub(super) fn new(held: Held, place: P, has_begun: HasBegun) -> Self {
        Self { held: Some((held, place)), has_begun }
    }

    /// Ends the claim without a final write, since no mark was written.
    pub(super) fn withdraw(mut self) {
        self.held = None;
    }

    /// Stores `answer` under the key, or frees the key if the answer says that nothing was run. If this
    /// future is dropped, the write still completes, holding the answer, `held` and the claim's place until
    /// then. Returns all three, or `None` if the write was broken off.
    pub async fn settle<S: Send + 'static>(mut self, answer: Reply, held: S) -> Option<(Reply, S, P)> {
        let (record, place) = self.held.take()?;
        let (runtime, settling) = record.to_end_on();
        let ending = async move {
            record.end(Some(&answer)).await;
            (answer, held, place)
        };
        // Fails only by a panic or when the runtime shuts down; either way the mark stays, and says that the
        // outcome is unknown.
        settling.spawn_on(ending, &runtime).await.ok()
    }
}

impl<P: Send + 'static> Drop for Claim<P> {
    fn drop(&mut self) {
        if let Some((held, place)) = self.held.take()
            && !(self.has_begun)()
        {
            let (runtime, settling) = held.to_end_on();
            let ending = async move {
                held.end(None).await;
                drop(place);
            };
            settling.spawn_on(ending, &runtime);
        }
    }
}

/// A claimed key.
pub(super) struct Held {
    running: Running,
    store: Arc<dyn Store>,
    key: Key,
    fingerprint: Fingerprint,
    window: Duration,
    runtime: Handle,
}

impl Held {
    /// Must be called on the runtime that is to do the final write.
    pub(super) fn new(
        running: Running,
        store: Arc<dyn Store>,
        key: Key,
        fingerprint: Fingerprint,
        window: Duration,
    ) -> Self {
        Self { running, store, key, fingerprint, window, runtime: Handle::current() }
    }

    /// The runtime of the final write, and the tracker that waits for it.
    fn to_end_on(&self) -> (Handle, TaskTracker) {
        (self.runtime.clone(), self.running.open.settling.clone())
    }

    /// Does the final write, after which the key no longer counts as running. Stores `answer`; without one,
    /// or if it says that nothing was run, frees the key.
    async fn end(self, answer: Option<&Reply>) {
        let ended = match answer {
            Some(Err(error)) if error.outcome == Outcome::NotRun => self.free().await,
            Some(answer) => self.keep(answer).await,
            None => self.free().await,
        };
        if let Err(error) = ended {
            tracing::error!(
                name: LASTING, target: "lictor::command", client = self.running.client(), %error,
                "what became of an Idempotency-Key cannot be kept"
            );
        }
    }

    async fn free(&self) -> Result<(), StateError> {
        self.store.delete(self.key.clone()).await?;
        self.running.open.full.forget(self.running.client());
        Ok(())
    }

    async fn keep(&self, answer: &Reply) -> Result<(), StateError> {
        match self.keep_whole(answer).await {
            Err(StateError::QuotaExceeded { .. } | StateError::TooLarge { .. }) => {
                Counter::IdempotencyNotKept.count();
                let bytes = answer.as_ref().map_or(0, Vec::len);
                if bytes > PART_BYTES {
                    record::forget(&*self.store, &self.key, bytes).await?;
                }
                self.write(Record::NotKept).await
            }
            kept => kept,
        }
    }

    async fn keep_whole(&self, answer: &Reply) -> Result<(), StateError> {
        let record = match answer {
            Ok(body) if body.len() > PART_BYTES => {
                let ttl = Ttl::new(self.window.saturating_add(MORE_FOR_PARTS))?;
                record::spread(&*self.store, &self.key, body, ttl).await?;
                Record::InParts(body.len() as u64)
            }
            answer => Record::Answered(answer),
        };
        self.write(record).await
    }

    async fn write(&self, record: Record<&Reply>) -> Result<(), StateError> {
        let value: Value = record.encode(self.fingerprint)?;
        self.store.set(self.key.clone(), value, Some(Ttl::new(self.window)?)).await.map(drop)
    }
}
