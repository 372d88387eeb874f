//! `lictor:plugin/state`: a plugin's key-value state, with expiry, compare-and-set and listing by prefix.
//! Granted by `keyvalue = ["STORE"]`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use self::bindings::lictor::plugin::state::{Entry, Host, Page, add_to_linker};
use super::context::HostState;
use super::interface::{Grant, Interface};
use super::ungranted::Ungranted;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::state::{Blame, Clock as _, Expected, Key, StateError, Store, SystemClock, Ttl, Value, Version};
use crate::telemetry::metrics::Counter;
use crate::telemetry::traces::Span;
use crate::text::shown;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world state { import lictor:plugin/state@0.1.0; }",
        imports: { default: async | trappable },
        with: { "lictor:plugin/types": crate::plugin::bindings::lictor::plugin::types },
    });
}

pub(super) const INTERFACE: Interface = Interface {
    names: &["lictor:plugin/state"],
    version: (0, 1),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\nkeyvalue = [\"default\"]",
        is_in: |grants| grants.stores.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

/// Result of a host function: the outer error ends the call, the inner one is the plugin's to handle.
type StateResult<T> = wasmtime::Result<Result<T, Failure>>;

impl Host for HostState {
    async fn get(&mut self, store: String, key: String) -> StateResult<Option<Entry>> {
        let span = self.operation("state.get", key.len())?;
        let granted = self.store(&store, span.as_ref());
        let found = async { Ok(granted?.get(&Key::new(&key)?).await?) };
        let found = match found.await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Ok(None)),
            Err(refusal) => return Ok(Err(self.failure(Asked("get", &store, &key), refusal))),
        };
        self.volume.carry(found.value.as_bytes().len())?;
        Ok(Ok(Some(Entry {
            value: found.value.into_bytes().into(),
            version: found.version.as_u64(),
            expires_in_ms: found.expires_at.map(|expiry| expiry.left(SystemClock.now_ms()).as_ms()),
        })))
    }

    async fn set(
        &mut self,
        store: String,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> StateResult<u64> {
        let span = self.operation("state.set", key.len() + value.len())?;
        let granted = self.store(&store, span.as_ref());
        let written = async { Ok(granted?.set(Key::new(&key)?, Value::new(value)?, ttl(ttl_ms)?).await?) };
        Ok(written
            .await
            .map(Version::as_u64)
            .map_err(|refusal| self.failure(Asked("set", &store, &key), refusal)))
    }

    async fn delete(&mut self, store: String, key: String) -> StateResult<bool> {
        let span = self.operation("state.delete", key.len())?;
        let granted = self.store(&store, span.as_ref());
        let deleted = async { Ok(granted?.delete(Key::new(&key)?).await?) };
        Ok(deleted.await.map_err(|refusal| self.failure(Asked("delete", &store, &key), refusal)))
    }

    async fn increment(&mut self, store: String, key: String, delta: i64) -> StateResult<i64> {
        let span = self.operation("state.increment", key.len())?;
        let granted = self.store(&store, span.as_ref());
        let summed = async { Ok(granted?.increment(Key::new(&key)?, delta).await?) };
        Ok(summed.await.map_err(|refusal| self.failure(Asked("increment", &store, &key), refusal)))
    }

    async fn compare_and_set(
        &mut self,
        store: String,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> StateResult<u64> {
        let span = self.operation("state.compare-and-set", key.len() + value.len())?;
        let granted = self.store(&store, span.as_ref());
        let expected = expected.map(Version::from_u64).map_or(Expected::Absent, Expected::Version);
        let written = async {
            let (at, value, ttl) = (Key::new(&key)?, Value::new(value)?, ttl(ttl_ms)?);
            Ok(granted?.compare_and_set(at, expected, value, ttl).await?)
        };
        Ok(written
            .await
            .map(Version::as_u64)
            .map_err(|refusal| self.failure(Asked("compare-and-set", &store, &key), refusal)))
    }

    async fn compare_and_delete(&mut self, store: String, key: String, expected: u64) -> StateResult<()> {
        let span = self.operation("state.compare-and-delete", key.len())?;
        let granted = self.store(&store, span.as_ref());
        let expected = Version::from_u64(expected);
        let deleted = async { Ok(granted?.compare_and_delete(Key::new(&key)?, expected).await?) };
        Ok(deleted.await.map_err(|refusal| self.failure(Asked("compare-and-delete", &store, &key), refusal)))
    }

    async fn touch(&mut self, store: String, key: String, ttl_ms: Option<u64>) -> StateResult<bool> {
        let span = self.operation("state.touch", key.len())?;
        let granted = self.store(&store, span.as_ref());
        let touched = async { Ok(granted?.touch(Key::new(&key)?, ttl(ttl_ms)?).await?.is_some()) };
        Ok(touched.await.map_err(|refusal| self.failure(Asked("touch", &store, &key), refusal)))
    }

    async fn list_keys(
        &mut self,
        store: String,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> StateResult<Page> {
        let span = self.operation("state.list-keys", prefix.len())?;
        let granted = self.store(&store, span.as_ref());
        let listed = async {
            let after = after.map(|after| Key::new(&after)).transpose()?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            Ok(granted?.list_keys(&prefix, after.as_ref(), limit).await?)
        };
        let page = match listed.await {
            Ok(page) => page,
            Err(refusal) => return Ok(Err(self.failure(Asked("list-keys", &store, &prefix), refusal))),
        };
        let keys: Vec<String> = page.keys.iter().map(|key| key.as_str().to_owned()).collect();
        self.volume.carry(keys.iter().map(String::len).sum())?;
        Ok(Ok(Page { keys, more: page.next.is_some() }))
    }
}

/// The reason why the store was not asked, or its error.
enum Refusal {
    /// No store of this name is granted.
    NotGranted(String),
    State(StateError),
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

pub(super) fn ungranted(store: &str) -> Ungranted<'_> {
    Ungranted { kind: "the store", name: store, key: "keyvalue", verb: "", option: Some("--store") }
}

/// An operation on a store: its name, the name under which the plugin opens the store, and the key or key
/// prefix.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a>(pub(super) &'static str, pub(super) &'a str, pub(super) &'a str);

/// Characters of a store's name and of a key that are logged.
const MAX_NAME_CHARS: usize = 64;

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(operation, store, key) = self;
        let [store, key] = [store, key].map(|name| shown(name, MAX_NAME_CHARS));
        write!(f, "`{operation}` of \"{key}\" in the store \"{store}\"")
    }
}

impl HostState {
    /// Returns the store that is granted under `name`, and notes its use.
    pub(super) fn granted_store(&self, name: &str) -> Option<Arc<dyn Store>> {
        let store = self.granted.grants.stores.as_ref()?.0.get(name)?;
        Some(Arc::clone(store.note()))
    }

    /// The store that the plugin opens as `name`, for the operation whose span is `span`.
    fn store(&self, name: &str, span: Option<&Span>) -> Result<Arc<dyn Store>, Refusal> {
        let store = self.granted_store(name).ok_or_else(|| Refusal::NotGranted(name.to_owned()))?;
        Ok(traced(store, span))
    }

    /// Returns the failure for the plugin, and logs everything that the operator can fix.
    fn failure(&self, asked: Asked<'_>, refusal: Refusal) -> Failure {
        match refusal {
            Refusal::NotGranted(name) => {
                self.log.not_granted(self.label().as_ref(), ungranted(&name));
                Failure { code: "denied".into(), message: "this store is not granted to the plugin".into() }
            }
            Refusal::State(error) => {
                self.tell(asked, &error);
                Failure { code: code(&error).into(), message: error.plain() }
            }
        }
    }

    /// Logs why `asked` was not done; as a warning if the operator can fix it. Conflicts are not faults, and
    /// are not logged. Counts operations that reached a bound.
    pub(super) fn tell(&self, asked: Asked<'_>, error: &StateError) {
        if matches!(error, StateError::Conflict { .. }) {
            return;
        }
        let (call, words) = (self.label(), format!("{asked}: {error}"));
        let advice = match error {
            StateError::QuotaExceeded { kind, .. } => {
                Counter::StoreQuotasUsedUp.count();
                Some(kind.advice())
            }
            StateError::Unavailable { .. } => {
                Counter::StateUnavailable.count();
                None
            }
            _ => None,
        };
        match error.blame() {
            Blame::Plugin if advice.is_none() => self.log.host_refused(call.as_ref(), &words),
            Blame::Plugin | Blame::Operator => self.log.host_fault(call.as_ref(), &words, advice),
        }
    }
}

/// Returns `store` for an operation whose span is `span`, if it has one.
pub(super) fn traced(store: Arc<dyn Store>, span: Option<&Span>) -> Arc<dyn Store> {
    match span {
        Some(span) => store.traced(span.context()),
        None => store,
    }
}

fn code(error: &StateError) -> &'static str {
    match error {
        StateError::Unavailable { .. }
        | StateError::Corrupt { .. }
        | StateError::Foreign { .. }
        | StateError::NewerSchema { .. } => "unavailable",
        StateError::Conflict { .. } => "conflict",
        StateError::InvalidKey { .. } | StateError::InvalidTtl | StateError::TooLarge { .. } => {
            "bad-arguments"
        }
        StateError::QuotaExceeded { .. } | StateError::NotANumber | StateError::Overflow => "failed",
    }
}

fn ttl(ms: Option<u64>) -> Result<Option<Ttl>, StateError> {
    ms.map(|ms| Ttl::new(Duration::from_millis(ms))).transpose()
}
