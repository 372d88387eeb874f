//! A plugin that uses key-value stores, one command for each function. `kv-…` is `wasi:keyvalue`, `state-…`
//! is `lictor:plugin/state`; the first argument is the store.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:stateful;
        world stateful {
            include lictor:plugin/plugin@0.1.0;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            import lictor:plugin/state@0.1.0;
        }
    ",
    generate_all,
});

use std::time::Duration;

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use lictor::plugin::state;
use wasi::keyvalue::store::{self, Bucket, Error};
use wasi::keyvalue::{atomics, batch};

struct Stateful;

export!(Stateful);

impl Guest for Stateful {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
        let text = match arguments[..] {
            [command, ..] if command.starts_with("kv-") => keyvalue(&arguments)?,
            _ => of_state(&arguments)?,
        };
        Ok(text.into_bytes())
    }
}

fn keyvalue(arguments: &[&str]) -> Result<String, Failure> {
    let bucket = |store: &str| store::open(store).map_err(failed);
    match *arguments {
        ["kv-open", store] => bucket(store).map(|_| String::new()),
        ["kv-get", store, key] => shown(bucket(store)?.get(key).map_err(failed)?),
        ["kv-set", store, key, value] => {
            bucket(store)?.set(key, value.as_bytes()).map_err(failed).map(|()| String::new())
        }
        ["kv-delete", store, key] => bucket(store)?.delete(key).map_err(failed).map(|()| String::new()),
        ["kv-exists", store, key] => Ok(bucket(store)?.exists(key).map_err(failed)?.to_string()),
        ["kv-pages", store] => pages(&bucket(store)?),
        ["kv-cursor", store, cursor] => {
            Ok(bucket(store)?.list_keys(Some(number(cursor)?)).map_err(failed)?.keys.join(" "))
        }
        ["kv-increment", store, key, delta] => {
            Ok(atomics::increment(&bucket(store)?, key, number(delta)?).map_err(failed)?.to_string())
        }
        ["kv-get-many", store, ref keys @ ..] => {
            let found = batch::get_many(&bucket(store)?, &owned(keys)).map_err(failed)?;
            let texts = found.into_iter().map(|entry| match entry {
                Some((key, value)) => format!("{key}={}", String::from_utf8_lossy(&value)),
                None => "-".to_owned(),
            });
            Ok(texts.collect::<Vec<_>>().join(" "))
        }
        ["kv-set-many", store, ref entries @ ..] => {
            let entries: Vec<_> = entries
                .iter()
                .filter_map(|entry| entry.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.into()))
                .collect();
            batch::set_many(&bucket(store)?, &entries).map_err(failed).map(|()| String::new())
        }
        ["kv-delete-many", store, ref keys @ ..] => {
            batch::delete_many(&bucket(store)?, &owned(keys)).map_err(failed).map(|()| String::new())
        }
        // Opens stores and keeps them, to reach the host's bound.
        ["kv-hoard", store, count] => {
            let kept: Vec<Bucket> = (0..number(count)?).map(|_| bucket(store)).collect::<Result<_, _>>()?;
            Ok(kept.len().to_string())
        }
        ["kv-set-sized", store, key, bytes] => {
            let value = vec![b'x'; number(bytes)? as usize];
            bucket(store)?.set(key, &value).map_err(failed).map(|()| String::new())
        }
        ["kv-set-many-sized", store, count, bytes] => {
            let value = vec![b'x'; number(bytes)? as usize];
            let entries: Vec<_> = (0..number(count)?).map(|n| (format!("many{n}"), value.clone())).collect();
            batch::set_many(&bucket(store)?, &entries).map_err(failed).map(|()| String::new())
        }
        _ => Err(failure("bad-arguments", "no such command")),
    }
}

/// Returns all keys, with their number before each page.
fn pages(bucket: &Bucket) -> Result<String, Failure> {
    let (mut text, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor).map_err(failed)?;
        text.push(page.keys.len().to_string());
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(text.join("+"));
        }
    }
}

fn of_state(arguments: &[&str]) -> Result<String, Failure> {
    match *arguments {
        ["state-get", store, key] => match state::get(store, key)? {
            Some(entry) => {
                let left = entry.expires_in_ms.map_or("-".to_owned(), |ms| ms.to_string());
                Ok(format!("{} {} {left}", String::from_utf8_lossy(&entry.value), entry.version))
            }
            None => Err(failure("not-found", key)),
        },
        ["state-set", store, key, value] => Ok(state::set(store, key, value.as_bytes(), None)?.to_string()),
        ["state-set", store, key, value, ttl] => {
            Ok(state::set(store, key, value.as_bytes(), Some(number(ttl)?))?.to_string())
        }
        ["state-delete", store, key] => Ok(state::delete(store, key)?.to_string()),
        ["state-increment", store, key, delta] => {
            let delta = delta.parse().map_err(|_| failure("bad-arguments", "no number"))?;
            Ok(state::increment(store, key, delta)?.to_string())
        }
        // Counts its start, and is then slow.
        ["state-slow", store, key, ms] => {
            let sum = state::increment(store, key, 1)?;
            std::thread::sleep(Duration::from_millis(number(ms)?));
            Ok(sum.to_string())
        }
        ["state-swap", store, key, "-", value] => {
            Ok(state::compare_and_set(store, key, None, value.as_bytes(), None)?.to_string())
        }
        ["state-swap", store, key, version, value] => {
            let version = Some(number(version)?);
            Ok(state::compare_and_set(store, key, version, value.as_bytes(), None)?.to_string())
        }
        ["state-swap-out", store, key, version] => {
            state::compare_and_delete(store, key, number(version)?).map(|()| String::new())
        }
        ["state-touch", store, key, ttl] => Ok(state::touch(store, key, Some(number(ttl)?))?.to_string()),
        ["state-keep", store, key] => Ok(state::touch(store, key, None)?.to_string()),
        ["state-list", store, prefix, limit] => listed(store, prefix, None, limit),
        ["state-list", store, prefix, limit, after] => listed(store, prefix, Some(after), limit),
        ["state-flood", store, count] => {
            for _ in 0..number(count)? {
                state::get(store, "nothing")?;
            }
            Ok(String::new())
        }
        _ => Err(failure("bad-arguments", "no such command")),
    }
}

fn listed(store: &str, prefix: &str, after: Option<&str>, limit: &str) -> Result<String, Failure> {
    let page = state::list_keys(store, prefix, after, number(limit)? as u32)?;
    Ok(format!("{}{}", page.keys.join(" "), if page.more { " …" } else { "" }))
}

fn shown(value: Option<Vec<u8>>) -> Result<String, Failure> {
    value.map(|value| String::from_utf8_lossy(&value).into_owned()).ok_or_else(|| failure("not-found", ""))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| failure("bad-arguments", "no number"))
}

fn failed(error: Error) -> Failure {
    match error {
        Error::NoSuchStore => failure("not-found", "no such store"),
        Error::AccessDenied => failure("denied", "access denied"),
        Error::Other(words) => failure("failed", &words),
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.to_owned(), message: message.to_owned() }
}
