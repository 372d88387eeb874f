//! The right to run a request, and what becomes of its key.
//!
//! Whoever runs a command may be stopped at any time, as its client goes away. What is written at the end of a claim is
//! therefore written by a task of the ledger's, and until it is, the key counts as running.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::fingerprint::Fingerprint;
use super::record::{self, PART_BYTES, Record};
use super::{Answer, Running};
use crate::state::{Key, StateError, Store, Ttl, Value};
use crate::telemetry::metrics::Counter;
use crate::wire::Outcome;

/// Tells whether the command of a claim has begun.
pub(super) type HasBegun = Box<dyn Fn() -> bool + Send + Sync>;

/// How much longer than its record the parts of an answer are there: whoever reads the one finds the others.
const MORE_FOR_PARTS: Duration = Duration::from_secs(60);

/// The right to run a request, once.
///
/// Dropped without being [settled](Self::settle), it leaves the key free where the command had not begun, and the mark that
/// the outcome is not known where it had.
pub struct Claim {
    held: Option<Held>,
    has_begun: HasBegun,
}

impl Claim {
    pub(super) fn new(held: Held, has_begun: HasBegun) -> Self {
        Self { held: Some(held), has_begun }
    }

    /// Gives it back where no mark was written.
    pub(super) fn withdraw(mut self) {
        self.held = None;
    }

    /// Keeps `answer` under the key, or, where it says that nothing was run, frees the key. Given up while it waits, it is
    /// done all the same.
    pub async fn settle(mut self, answer: &Answer) {
        let Some(held) = self.held.take() else { return };
        let end = match answer {
            Err(error) if error.outcome == Outcome::NotRun => End::Free,
            answer => End::Answered(answer.clone()),
        };
        // It ends by a panic or with the runtime only; either way the mark stays, and tells that the end is not known.
        held.end(end).await.ok();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.held.take()
            && !(self.has_begun)()
        {
            drop(held.end(End::Free));
        }
    }
}

/// What becomes of a key.
enum End {
    Free,
    Answered(Answer),
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

    /// Writes what becomes of the key, whoever waits for it; then it does not run any more.
    fn end(self, end: End) -> JoinHandle<()> {
        let (runtime, settling) = (self.runtime.clone(), self.running.open.settling.clone());
        let ending = async move {
            let ended = match end {
                End::Free => self.store.delete(self.key.clone()).await.map(drop),
                End::Answered(answer) => self.keep(answer).await,
            };
            if let Err(error) = ended {
                tracing::error!(
                    target: "lictor::command", client = &*self.running.owner.0, %error,
                    "what became of an Idempotency-Key cannot be kept"
                );
            }
        };
        settling.spawn_on(ending, &runtime)
    }

    async fn keep(&self, answer: Answer) -> Result<(), StateError> {
        let bytes = answer.as_ref().map_or(0, Vec::len);
        match self.keep_whole(answer).await {
            Err(StateError::QuotaExceeded { .. } | StateError::TooLarge { .. }) => {
                Counter::IdempotencyNotKept.count();
                if bytes > PART_BYTES {
                    record::forget(&*self.store, &self.key, bytes).await?;
                }
                self.write(Record::NotKept).await
            }
            kept => kept,
        }
    }

    async fn keep_whole(&self, answer: Answer) -> Result<(), StateError> {
        let record = match answer {
            Ok(body) if body.len() > PART_BYTES => {
                let bytes = body.len() as u64;
                let ttl = Ttl::new(self.window.saturating_add(MORE_FOR_PARTS))?;
                record::spread(&*self.store, &self.key, body, ttl).await?;
                Record::InParts(bytes)
            }
            answer => Record::Answered(answer),
        };
        self.write(record).await
    }

    async fn write(&self, record: Record) -> Result<(), StateError> {
        let value: Value = record.encode(self.fingerprint)?;
        self.store.set(self.key.clone(), value, Some(Ttl::new(self.window)?)).await.map(drop)
    }
}
