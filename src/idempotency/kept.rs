//! A stored answer, not yet read: only its size is known, so that the caller can reserve memory first.

use std::sync::Arc;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::record::{self, IN_PARTS_BYTES, Record};
use super::refusals;
use crate::state::{Key, Stat, StateError, Store, Version};
use crate::wire::{Code, CommandError, Reply};

/// A stored answer.
pub struct Kept {
    client: Arc<str>,
    window: Duration,
    store: Arc<dyn Store>,
    key: Key,
    fingerprint: Fingerprint,
    version: Version,
    bytes: usize,
}

impl Kept {
    /// Finds the answer under `key` by its `stat`, for a request with this `fingerprint`.
    pub(super) async fn of(
        client: Arc<str>,
        window: Duration,
        (store, key): (Arc<dyn Store>, Key),
        fingerprint: Fingerprint,
        stat: Stat,
    ) -> Result<Self, StateError> {
        let mut bytes = stat.bytes;
        // The record itself is small; it holds the answer's size.
        if stat.bytes == IN_PARTS_BYTES
            && let Some(entry) = store.get(&key).await?
            && let (_, Record::InParts(in_parts)) = Record::decode(entry.value.into_bytes())
        {
            bytes = usize::try_from(in_parts).unwrap_or(usize::MAX);
        }
        Ok(Self { client, window, store, key, fingerprint, version: stat.version, bytes })
    }

    /// Returns the largest possible size of the answer, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the answer, or the reason why there is none. `None` if the key was forgotten or rewritten
    /// meanwhile: then it must be claimed again.
    pub async fn read(self) -> Option<Reply> {
        let read = self.read_record().await;
        read.unwrap_or_else(|error| Some(Err(refusals::by_state(&self.client, &error, self.window))))
    }

    async fn read_record(&self) -> Result<Option<Reply>, StateError> {
        let Some(entry) = self.store.get(&self.key).await? else { return Ok(None) };
        // A rewritten record may be larger than the memory reserved.
        if entry.version != self.version {
            return Ok(None);
        }
        let (of, record) = Record::decode(entry.value.into_bytes());
        if of.is_some_and(|of| of != self.fingerprint) {
            return Ok(Some(Err(refusals::other_request())));
        }
        let answer = match record {
            Record::Answered(answer) => Some(answer),
            Record::InParts(_) => record::gather(&*self.store, &self.key, self.bytes).await?.map(Ok),
            Record::NotKept => None,
            Record::Begun => {
                let words = "The request with this Idempotency-Key began and its end is not known; it is not run again";
                return Ok(Some(Err(CommandError::unknown(Code::Conflict, words))));
            }
        };
        Ok(Some(answer.unwrap_or_else(|| {
            let words = "The request with this Idempotency-Key was carried out and its answer could not be kept; it is not run again";
            Err(CommandError::unknown(Code::Conflict, words))
        })))
    }
}
