//! `lictor state list|get|delete`: single entries of plugins' stores, even while the server runs.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::app::{self, ByHand, Entry, Key, Listed, Namespace, StateError};
use crate::cli::config_file::{ConfigFile, load_of_state};
use crate::cli::{Failure, output};

/// List the stores, or the keys of one
///
/// Lists stores with their sizes, keys in byte order. Expired entries are not shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor state list                              the stores
  lictor state list kv/default --prefix users/
  lictor state list kv/default -l                with sizes, versions and times to live")]
pub(in crate::cli) struct List {
    /// Store, PLUGIN/STORE; PLUGIN alone means its store `default` [default: list the stores]
    #[arg(value_name = "STORE")]
    store: Option<StoreArgument>,
    /// List only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true, requires = "store")]
    prefix: String,
    /// List only keys after this one
    #[arg(long, value_name = "KEY", requires = "store", value_parser = key)]
    after: Option<Key>,
    /// Maximum number of keys
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Show each key's size, version and time to live
    #[arg(short, long)]
    long: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "long")]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// Print the value of a key
///
/// Text gets a final newline. Control characters are escaped if standard output is a terminal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor state get kv/default users/anna
  lictor state get --raw kv/default picture > picture.png")]
pub(in crate::cli) struct Get {
    /// Store, PLUGIN/STORE; PLUGIN alone means its store `default`
    #[arg(value_name = "STORE")]
    store: StoreArgument,
    /// Key
    #[arg(value_name = "KEY", value_parser = key)]
    key: Key,
    /// Print the bytes unchanged
    #[arg(long)]
    raw: bool,
    /// Print one JSON object, with the version and the time to live
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// Delete a key, or all keys with a prefix
///
/// Works while the server is running; its plugins may see the key for at most another 10 ms.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor state delete kv/default users/anna
  lictor state delete kv/default --prefix sessions/ --yes")]
pub(in crate::cli) struct Delete {
    /// Store, PLUGIN/STORE; PLUGIN alone means its store `default`
    #[arg(value_name = "STORE")]
    store: StoreArgument,
    /// Key
    #[arg(value_name = "KEY", value_parser = key, conflicts_with = "prefix")]
    key: Option<Key>,
    /// Delete every key that begins with this
    #[arg(long)]
    prefix: Option<String>,
    /// Confirm the deletion; without this, only the number of keys is shown
    #[arg(long, requires = "prefix")]
    yes: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// Keys collected at a time for deletion.
const PAGE: usize = 1000;

/// A store in the notation of another plugin's grant.
#[derive(Clone, Debug)]
struct StoreArgument(Namespace);

impl FromStr for StoreArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/').unwrap_or((text, "default")) {
            ("", _) | (_, "") => Err("write PLUGIN/STORE".to_owned()),
            (plugin, store) => Ok(Self(Namespace::new(plugin, store))),
        }
    }
}

fn key(text: &str) -> Result<Key, String> {
    Key::new(text).map_err(|error| error.to_string())
}

fn shown(store: &Namespace) -> String {
    format!("{}/{}", store.plugin, store.store)
}

fn failed(error: StateError) -> Failure {
    Failure::failed(error.to_string())
}

/// Opens the state of a config by `open`.
fn opened(
    config: &ConfigFile,
    open: fn(&std::path::Path) -> Result<ByHand, StateError>,
) -> Result<ByHand, Failure> {
    let config = load_of_state(config)?;
    let path = app::state_file(&config).map_err(|error| Failure::failed(format!("{error:#}")))?;
    open(path).map_err(failed)
}

/// Requires the store to exist: a misspelled name must not look like a missing key.
fn want_store(state: &ByHand, store: &Namespace) -> Result<(), Failure> {
    let namespaces = state.namespaces().map_err(failed)?;
    if namespaces.iter().any(|(namespace, _)| namespace == store) {
        return Ok(());
    }
    let message = format!("there is no store {}; `lictor state list` lists the stores", shown(store));
    Err(Failure::failed(message))
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let state = opened(&self.config, ByHand::read)?;
        let Some(StoreArgument(store)) = &self.store else { return self.stores(&state) };
        want_store(&state, store)?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut entries =
            state.list(store, &self.prefix, self.after.as_ref(), limit.saturating_add(1)).map_err(failed)?;
        let is_cut = entries.len() > limit;
        entries.truncate(limit);
        if self.json {
            let next = is_cut.then(|| entries.last().map(|entry| entry.key.as_str())).flatten();
            let listed: Vec<Value> = entries.iter().map(json_of).collect();
            return output::json(&json!({ "store": shown(store), "entries": listed, "after": next }));
        }
        for entry in &entries {
            output::line(&if self.long { line_of(entry) } else { entry.key.as_str().to_owned() })?;
        }
        if let Some(last) = entries.last().filter(|_| is_cut) {
            output::note(&format!("there are more: continue with --after {:?}", last.key));
        }
        Ok(())
    }

    fn stores(&self, state: &ByHand) -> Result<(), Failure> {
        let namespaces = state.namespaces().map_err(failed)?;
        if self.json {
            let stores = namespaces.iter().map(
                |(store, usage)| json!({ "store": shown(store), "keys": usage.keys, "bytes": usage.bytes }),
            );
            return output::json(&json!({ "stores": stores.collect::<Vec<_>>() }));
        }
        for (store, usage) in &namespaces {
            output::line(&format!("{}  keys {}  bytes {}", shown(store), usage.keys, usage.bytes))?;
        }
        if namespaces.is_empty() {
            output::note("there are no stores: a plugin creates one when it first opens it");
        }
        Ok(())
    }
}

impl Get {
    pub(super) fn run(self) -> Result<(), Failure> {
        let state = opened(&self.config, ByHand::read)?;
        let StoreArgument(store) = &self.store;
        let Some(entry) = state.get(store, &self.key).map_err(failed)? else {
            want_store(&state, store)?;
            return Err(missing(store, &self.key));
        };
        if self.json {
            return output::json(&json_of_all(&self.key, &entry));
        }
        let mut reply = if self.raw { output::Reply::raw() } else { output::Reply::text() };
        reply.part(entry.value.as_bytes())?;
        reply.end()
    }
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.key.is_none() && self.prefix.is_none() {
            let what = "name the KEY to delete, or use --prefix to delete all keys that begin with a text";
            return Err(Failure::usage(what));
        }
        let state = opened(&self.config, ByHand::write)?;
        let StoreArgument(store) = &self.store;
        want_store(&state, store)?;
        match (&self.key, &self.prefix) {
            (Some(key), _) => match state.delete(store, std::slice::from_ref(key)).map_err(failed)? {
                0 => Err(missing(store, key)),
                _ => {
                    output::diagnostics(&format!("{}: deleted {}", shown(store), key.as_str()));
                    Ok(())
                }
            },
            (None, prefix) => self.all(&state, store, prefix.as_deref().unwrap_or_default()),
        }
    }

    /// Deletes the present entries, page by page, so that concurrent writes of a plugin cannot prolong it
    /// indefinitely.
    fn all(&self, state: &ByHand, store: &Namespace, prefix: &str) -> Result<(), Failure> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = state.list(store, prefix, after.as_ref(), PAGE).map_err(failed)?;
            let keys: Vec<Key> = page.into_iter().map(|entry| entry.key).collect();
            let Some(last) = keys.last().cloned() else { break };
            count += match self.yes {
                true => state.delete(store, &keys).map_err(failed)?,
                false => u64::try_from(keys.len()).unwrap_or(u64::MAX),
            };
            after = Some(last);
        }
        let store = shown(store);
        match (count, self.yes) {
            (0, _) => Err(Failure::failed(format!("{store}: no key begins with {prefix:?}"))),
            (_, true) => {
                output::diagnostics(&format!("{store}: deleted {count} keys"));
                Ok(())
            }
            (_, false) => Err(Failure::usage(format!(
                "{store}: {count} keys begin with {prefix:?}, and none was deleted; add --yes to delete them"
            ))),
        }
    }
}

fn missing(store: &Namespace, key: &Key) -> Failure {
    Failure::failed(format!("{}: there is no key {}", shown(store), key.as_str()))
}

/// Milliseconds from now until `ms` after 1970.
fn left_ms(ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(ms).saturating_sub(now);
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}

fn json_of(entry: &Listed) -> Value {
    let Listed { key, version, expires_at, bytes } = entry;
    let left = expires_at.map(|at| left_ms(at.as_ms()));
    json!({ "key": key.as_str(), "bytes": bytes, "version": version.as_u64(), "ttl_ms": left })
}

fn line_of(entry: &Listed) -> String {
    let left = entry.expires_at.map(|at| format!("{} s", left_ms(at.as_ms()).div_ceil(1000)));
    let left = left.unwrap_or_else(|| "for ever".to_owned());
    let (bytes, version, key) = (entry.bytes, entry.version.as_u64(), entry.key.as_str());
    format!("{bytes:>8} bytes  version {version:<8}  {left:>10}  {key}")
}

/// An entry with its value: as text if possible, otherwise in hexadecimal.
fn json_of_all(key: &Key, entry: &Entry) -> Value {
    let left = entry.expires_at.map(|at| left_ms(at.as_ms()));
    let bytes = entry.value.as_bytes();
    let (name, value) = match std::str::from_utf8(bytes) {
        Ok(text) => ("value", text.to_owned()),
        Err(_) => ("value_hex", base16ct::lower::encode_string(bytes)),
    };
    json!({ "key": key.as_str(), "version": entry.version.as_u64(), "ttl_ms": left, name: value })
}
