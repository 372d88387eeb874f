//! `wasi:keyvalue`: store, atomics and batch. Granted by `keyvalue = ["STORE"]`.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::store::{self, Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch};
use super::bucket::Bucket;
use super::context::HostState;
use super::interface::Interface;
use super::state::{self, Asked};
use crate::state::{Key, MAX_KEYS_PER_CALL, StateError, Value};
use crate::telemetry::traces::Span;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "
            package lictor:host;
            world keyvalue {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::plugin::host::bucket::Bucket },
    });
}

pub(super) const INTERFACE: Interface = Interface {
    names: &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"],
    version: (0, 2),
    grant: state::INTERFACE.grant,
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    store::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)?;
    atomics::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)?;
    batch::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

fn checked(keys: &[String]) -> Result<Vec<Key>, StateError> {
    keys.iter().map(|key| Key::new(key)).collect()
}

/// Joins the first [`MAX_LOGGED_KEYS`] of several keys for the log.
fn joined<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    keys.take(MAX_LOGGED_KEYS).collect::<Vec<_>>().join(", ")
}

/// Keys of a batch that are logged.
const MAX_LOGGED_KEYS: usize = 4;

/// Result of a host function: the outer error ends the call, the inner one is the plugin's to handle.
type BucketResult<T> = wasmtime::Result<Result<T, Error>>;

impl HostState {
    /// Returns the bucket for the operation whose span is `span`.
    fn bucket(&mut self, bucket: &Resource<Bucket>, span: Option<&Span>) -> wasmtime::Result<Bucket> {
        let bucket = self.handles().get(bucket)?.clone();
        let store = state::traced(Arc::clone(&bucket.store), span);
        Ok(bucket.with_store(store))
    }

    fn kv_error(&self, asked: Asked<'_>, error: &StateError) -> Error {
        self.tell(asked, error);
        Error::Other(error.plain())
    }
}

impl store::Host for HostState {
    async fn open(&mut self, identifier: String) -> BucketResult<Resource<Bucket>> {
        let _span = self.operation("keyvalue.open", identifier.len())?;
        let Some(store) = self.granted_store(&identifier) else {
            self.log.not_granted(self.label().as_ref(), state::ungranted(&identifier));
            return Ok(Err(Error::AccessDenied));
        };
        let bucket = Bucket::new(identifier, store);
        Ok(Ok(self.handles().push(bucket)?))
    }
}

impl store::HostBucket for HostState {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> BucketResult<Option<Vec<u8>>> {
        let span = self.operation("keyvalue.get", key.len())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let found = match Key::new(&key) {
            Ok(key) => bucket.store.get(&key).await,
            Err(error) => Err(error),
        };
        let value = match found {
            Ok(entry) => entry.map(|entry| Vec::from(entry.value.into_bytes())),
            Err(error) => return Ok(Err(self.kv_error(Asked("get", &bucket.name, &key), &error))),
        };
        self.volume.carry(value.as_ref().map_or(0, Vec::len))?;
        Ok(Ok(value))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> BucketResult<()> {
        let span = self.operation("keyvalue.set", key.len() + value.len())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let written = async { bucket.store.set(Key::new(&key)?, Value::new(value)?, None).await };
        Ok(written.await.map(drop).map_err(|error| self.kv_error(Asked("set", &bucket.name, &key), &error)))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> BucketResult<()> {
        let span = self.operation("keyvalue.delete", key.len())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let deleted = async { bucket.store.delete(Key::new(&key)?).await };
        Ok(deleted
            .await
            .map(drop)
            .map_err(|error| self.kv_error(Asked("delete", &bucket.name, &key), &error)))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> BucketResult<bool> {
        let span = self.operation("keyvalue.exists", key.len())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let found = async { bucket.store.exists(&Key::new(&key)?).await };
        Ok(found.await.map_err(|error| self.kv_error(Asked("exists", &bucket.name, &key), &error)))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> BucketResult<KeyResponse> {
        let span = self.operation("keyvalue.list-keys", 0)?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let after = match cursor {
            None => None,
            Some(number) => match bucket.cursors().find(number) {
                Some(key) => Some(key),
                None => return Ok(Err(Error::Other("this cursor is not one of this bucket's last".into()))),
            },
        };
        let page = match bucket.store.list_keys("", after.as_ref(), MAX_KEYS_PER_CALL).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(self.kv_error(Asked("list-keys", &bucket.name, ""), &error))),
        };
        let keys: Vec<String> = page.keys.iter().map(|key| key.as_str().to_owned()).collect();
        self.volume.carry(keys.iter().map(String::len).sum())?;
        let cursor = page.next.map(|next| bucket.cursors().add(next));
        Ok(Ok(KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.handles().delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for HostState {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> BucketResult<u64> {
        let span = self.operation("keyvalue.increment", key.len())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let summed = async {
            let delta = i64::try_from(delta).map_err(|_| StateError::Overflow)?;
            // A sum below zero can't be returned, so it is not written.
            let sum = bucket.store.increment_to(Key::new(&key)?, delta, 0).await?;
            u64::try_from(sum).map_err(|_| StateError::Overflow)
        };
        Ok(summed.await.map_err(|error| self.kv_error(Asked("increment", &bucket.name, &key), &error)))
    }
}

impl batch::Host for HostState {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> BucketResult<Vec<Option<(String, Vec<u8>)>>> {
        let span = self.operation("keyvalue.get-many", keys.iter().map(String::len).sum())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let read = async { bucket.store.get_many(&checked(&keys)?).await };
        let entries = match read.await {
            Ok(entries) => entries,
            Err(error) => {
                let keys = joined(keys.iter().map(String::as_str));
                return Ok(Err(self.kv_error(Asked("get-many", &bucket.name, &keys), &error)));
            }
        };
        let values = entries.into_iter().map(|entry| entry.map(|entry| Vec::from(entry.value.into_bytes())));
        let found: Vec<_> = keys.into_iter().zip(values).map(|(key, value)| Some((key, value?))).collect();
        self.volume.carry(found.iter().flatten().map(|(key, value)| key.len() + value.len()).sum())?;
        Ok(Ok(found))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> BucketResult<()> {
        let span = self.operation(
            "keyvalue.set-many",
            entries.iter().map(|(key, value)| key.len() + value.len()).sum(),
        )?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let keys = joined(entries.iter().map(|(key, _)| key.as_str()));
        let written = async {
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| Ok((Key::new(&key)?, Value::new(value)?)))
                .collect::<Result<_, StateError>>()?;
            bucket.store.set_many(entries, None).await
        };
        Ok(written.await.map_err(|error| self.kv_error(Asked("set-many", &bucket.name, &keys), &error)))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> BucketResult<()> {
        let span = self.operation("keyvalue.delete-many", keys.iter().map(String::len).sum())?;
        let bucket = self.bucket(&bucket, span.as_ref())?;
        let deleted = async { bucket.store.delete_many(checked(&keys)?).await };
        Ok(deleted.await.map(drop).map_err(|error| {
            let keys = joined(keys.iter().map(String::as_str));
            self.kv_error(Asked("delete-many", &bucket.name, &keys), &error)
        }))
    }
}
