//! The right to run a request, and what becomes of its key.
//!
//! Whoever runs a command may be stopped at any time, as its client goes away. What is written at the end of a claim is
//! therefore written by a task of the ledger's, and until it is, the key counts as running.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::fingerprint::Fingerprint;
use super::record::{self, PART_BYTES, Record};
use super::{Answer, Running};
use crate::state::{Key, StateError, Store, Ttl, Value};
use crate::telemetry::LASTING;
use crate::telemetry::metrics::Counter;
use crate::wire::Outcome;

/// Tells whether the command of a claim has begun.
pub(super) type HasBegun = Box<dyn Fn() -> bool + Send + Sync>;

/// How much longer than its record the parts of an answer are there: whoever reads the one finds the others.
const MORE_FOR_PARTS: Duration = Duration::from_secs(60);

/// The right to run a request, once, and the place `P` that its client has for that: whatever ends the claim keeps it until
/// that is written, so that no client has more to be written at a time than it has places.
///
/// Dropped without being [settled](Self::settle), it leaves the key free where the command had not begun, and the mark that
/// the outcome is not known where it had.
pub struct Claim<P: Send + 'static> {
    held: Option<(Held, P)>,
    has_begun: HasBegun,
}

impl<P: Send + 'static> Claim<P> {
    pub(super) fn new(held: Held, place: P, has_begun: HasBegun) -> Self {
        Self { held: Some((held, place)), has_begun }
    }

    /// Gives it back where no mark was written.
    pub(super) fn withdraw(mut self) {
        self.held = None;
    }

    /// Keeps `answer` under the key, or, where it says that nothing was run, frees the key. Given up while it waits, it is
    /// done all the same, and until then the answer is in `seat` and in the claim's place. They come back with it; nothing
    /// does where the write broke off.
    pub async fn settle<S: Send + 'static>(mut self, answer: Answer, seat: S) -> Option<(Answer, S, P)> {
        let (held, place) = self.held.take()?;
        let (runtime, settling) = held.to_end_on();
        let ending = async move {
            held.end(Some(&answer)).await;
            (answer, seat, place)
        };
        // It ends by a panic or with the runtime only; either way the mark stays, and tells that the end is not known.
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

/// A key that is claimed.
pub(super) struct Held {
    running: Running,
    store: Arc<dyn Store>,
    key: Key,
    fingerprint: Fingerprint,
    window: Duration,
    runtime: Handle,
}

impl Held {
    /// To be made on the runtime that is to end it.
    pub(super) fn new(
        running: Running,
        store: Arc<dyn Store>,
        key: Key,
        fingerprint: Fingerprint,
        window: Duration,
    ) -> Self {
        Self { running, store, key, fingerprint, window, runtime: Handle::current() }
    }

    /// Where the task runs that ends it, and by whom it is waited for.
    fn to_end_on(&self) -> (Handle, TaskTracker) {
        (self.runtime.clone(), self.running.open.settling.clone())
    }

    /// Writes what becomes of the key, which then does not run any more: `answer` is kept, and where there is none, or it says
    /// that nothing was run, the key is free.
    async fn end(self, answer: Option<&Answer>) {
        let ended = match answer {
            Some(Err(error)) if error.outcome == Outcome::NotRun => self.free().await,
            Some(answer) => self.keep(answer).await,
            None => self.free().await,
        };
        if let Err(error) = ended {
            tracing::error!(
                name: LASTING, target: "lictor::command", client = &*self.running.owner.0, %error,
                "what became of an Idempotency-Key cannot be kept"
            );
        }
    }

    async fn free(&self) -> Result<(), StateError> {
        self.store.delete(self.key.clone()).await?;
        self.running.open.full.has_room(&self.running.owner.0);
        Ok(())
    }

    async fn keep(&self, answer: &Answer) -> Result<(), StateError> {
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

    async fn keep_whole(&self, answer: &Answer) -> Result<(), StateError> {
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

    async fn write(&self, record: Record<&Answer>) -> Result<(), StateError> {
        let value: Value = record.encode(self.fingerprint)?;
        self.store.set(self.key.clone(), value, Some(Ttl::new(self.window)?)).await.map(drop)
    }
}
