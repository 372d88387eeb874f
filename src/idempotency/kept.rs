//! An answer that is kept, before it is read: only its size is known, so that whoever asks makes room for it first.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::record::{self, IN_PARTS_BYTES, Record};
use super::{Answer, Ledger, other_request};
use crate::state::{Key, Stat, StateError, Store, Version};
use crate::wire::{Code, CommandError};

/// An answer that is kept.
pub struct Kept {
    ledger: Ledger,
    client: Arc<str>,
    store: Arc<dyn Store>,
    key: Key,
    fingerprint: Fingerprint,
    version: Version,
    bytes: usize,
}

impl Kept {
    /// What is kept under `key`, of which so much is known, for a request with this `fingerprint`.
    pub(super) async fn of(
        ledger: Ledger,
        client: Arc<str>,
        store: Arc<dyn Store>,
        key: Key,
        fingerprint: Fingerprint,
        stat: Stat,
    ) -> Result<Self, StateError> {
        let mut bytes = stat.bytes;
        // Its record is small, and tells how large the answer is.
        if stat.bytes == IN_PARTS_BYTES
            && let Some(entry) = store.get(&key).await?
            && let (_, Record::InParts(in_parts)) = Record::decode(entry.value.into_bytes())
        {
            bytes = usize::try_from(in_parts).unwrap_or(usize::MAX);
        }
        Ok(Self { ledger, client, store, key, fingerprint, version: stat.version, bytes })
    }

    /// The most bytes that the answer has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads the answer, or tells why there is none. Nothing where the key was forgotten meanwhile, or is another request's
    /// again: then it has to be claimed anew.
    pub async fn read(self) -> Option<Answer> {
        let read = self.read_record().await;
        read.unwrap_or_else(|error| Some(Err(self.ledger.refusal(&self.client, &error))))
    }

    async fn read_record(&self) -> Result<Option<Answer>, StateError> {
        let Some(entry) = self.store.get(&self.key).await? else { return Ok(None) };
        // Another one may be larger than what there is room for.
        if entry.version != self.version {
            return Ok(None);
        }
        let (of, record) = Record::decode(entry.value.into_bytes());
        if of.is_some_and(|of| of != self.fingerprint) {
            return Ok(Some(Err(other_request())));
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
