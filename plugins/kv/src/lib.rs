//! `kv-*`: values under keys, in the store `default`. Needs the grant `keyvalue = ["default"]`.

use lictor_plugin::prelude::*;
use lictor_plugin::state::Store;

const STORE: Store = Store::new("default");

/// Most bytes of a listing: well below the default limit of a reply, 1 MiB.
const LISTING_BYTES: usize = 900 * 1024;

#[plugin]
mod commands {
    /// replies with the value of a key
    #[command(idempotent)]
    fn kv_get(key: &str) -> Result<Vec<u8>, Failure> {
        STORE.get(key).map_err(of_key)?.ok_or_else(|| missing(key))
    }

    /// stores a value, or the request's body if VALUE is -, and replies with its version
    #[command(idempotent)]
    fn kv_set(key: &str, value: String, expires_after: Option<Duration>) -> Result<u64, Failure> {
        let value = if value == "-" { request::body() } else { value.into_bytes() };
        let written = match expires_after {
            Some(span) => STORE.set_for(key, value, span),
            None => STORE.set(key, value),
        };
        written.map_err(of_key)
    }

    /// deletes keys, and replies with the number that existed
    #[command(idempotent, usage = "kv-delete KEY...")]
    fn kv_delete(key: &str, others: &[String]) -> Result<usize, Failure> {
        let mut deleted = usize::from(STORE.delete(key).map_err(of_key)?);
        for other in others {
            deleted += usize::from(STORE.delete(other).map_err(of_key)?);
        }
        match deleted {
            0 if others.is_empty() => Err(missing(key)),
            0 => Err(Failure::not_found("there is none of these keys")),
            _ => Ok(deleted),
        }
    }

    /// adds BY, by default 1, to a number, and replies with the sum
    #[command]
    fn kv_increment(key: &str, by: Option<i64>) -> Result<i64, Failure> {
        STORE.increment(key, by.unwrap_or(1)).map_err(of_key)
    }

    /// lists the keys that begin with PREFIX, or all, one per line
    #[command(idempotent)]
    fn kv_list(prefix: Option<&str>) -> Result<String, Failure> {
        listing(STORE.list(prefix.unwrap_or_default()), LISTING_BYTES)
    }
}

/// The client chooses keys, values and times, so the store's complaint about them goes to the client.
fn of_key(failure: Failure) -> Failure {
    if failure.code() == "bad-arguments" { failure.as_is() } else { failure }
}

fn missing(key: &str) -> Failure {
    Failure::not_found(format!("there is no key {key}"))
}

/// Lists one key per line. Fails if that would exceed `most` bytes: half a listing looks like a whole one.
fn listing(keys: impl Iterator<Item = Result<String, Failure>>, most: usize) -> Result<String, Failure> {
    let mut lines = String::new();
    for key in keys {
        let key = key?;
        if lines.len() + 1 + key.len() > most {
            return Err(Failure::failed("there are too many keys for one reply; give a longer PREFIX"));
        }
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&key);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_plugin::testing;

    fn keys(keys: &[&str]) -> impl Iterator<Item = Result<String, Failure>> {
        keys.iter().map(|key| Ok((*key).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn a_listing_is_whole_or_fails() {
        assert_eq!(listing(keys(&[]), 5), Ok(String::new()));
        assert_eq!(listing(keys(&["ab", "c"]), 5), Ok("ab\nc".to_owned()));
        assert_eq!(listing(keys(&["ab", "cd", "e"]), 5).unwrap_err().code(), "failed");
        let failing = keys(&["a"]).chain([Err(Failure::unavailable("not now"))]);
        assert_eq!(listing(failing, 5).unwrap_err().code(), "unavailable");
    }

    #[test]
    fn what_is_no_command_never_reaches_the_store() {
        let wrong = |arguments: &[&str]| {
            let failure = testing::run(commands::COMMANDS, arguments).unwrap_err();
            assert_eq!(failure.code(), "bad-arguments");
            failure.message().to_owned()
        };
        assert_eq!(wrong(&["kv-get"]), "usage: kv-get KEY (KEY is missing)");
        assert_eq!(wrong(&["kv-delete"]), "usage: kv-delete KEY... (KEY is missing)");
        let usage = "usage: kv-set KEY VALUE [EXPIRES-AFTER]";
        let time = "EXPIRES-AFTER must be a time such as 500ms, 10s, 5m, 2h or 1d";
        assert_eq!(wrong(&["kv-set", "a", "b", "soon"]), format!("{usage} ({time})"));
        assert!(wrong(&["kv-increment", "a", "b"]).contains("BY must be a whole number"));
        assert!(wrong(&["kv-list", "a", "b"]).contains("too many arguments"));
    }
}
