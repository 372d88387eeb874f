//! The conformance plugin in Rust: a command for each row of the table in `docs/conformance.md`, by the SDK.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use lictor_plugin::keyvalue::{atomics, store};
use lictor_plugin::log::Level;
use lictor_plugin::output;
use lictor_plugin::prelude::*;
use lictor_plugin::state::Store;

/// The first argument of `log`.
struct Importance(Level);

impl FromArgument<'_> for Importance {
    const EXPECTED: &'static str = "trace, debug, info, warn, error or critical";

    fn from_argument(text: &mut String) -> Option<Self> {
        Some(Self(match text.as_str() {
            "trace" => Level::Trace,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            "critical" => Level::Critical,
            _ => return None,
        }))
    }
}

/// The store that the suite grants.
fn bucket() -> Result<store::Bucket, Failure> {
    Ok(store::open("default")?)
}

#[plugin]
mod commands {
    /// replies with its arguments
    #[command(idempotent)]
    fn echo(text: &[String]) -> String {
        text.join(" ")
    }

    /// replies with the request's body
    #[command(idempotent)]
    fn body() -> Vec<u8> {
        request::body()
    }

    /// fails with this code and message
    #[command(idempotent)]
    fn fail(code: String, message: String) -> Failure {
        Failure::new(code, message)
    }

    /// panics
    #[command(idempotent)]
    fn panic(text: &str) {
        panic!("{text}")
    }

    /// logs through wasi:logging
    #[command(idempotent)]
    fn log(level: Importance, context: &str, message: &str) {
        log::event(level.0, context, message);
    }

    /// logs through lictor:plugin/output
    #[command(idempotent)]
    fn print(text: &str) {
        output::print(text);
    }

    /// prints the request's body, without an end of the line
    #[command(idempotent)]
    fn say() {
        let text = String::from_utf8_lossy(&request::body()).into_owned();
        // What the standard library prints reaches the log where it is built for wasm32-wasip2.
        #[cfg(target_os = "wasi")]
        std::print!("{text}");
        #[cfg(not(target_os = "wasi"))]
        output::print(&text);
    }

    /// logs what is hard to show
    #[command(idempotent)]
    fn print_odd() {
        for odd in ["", "\n", "a\0b\u{1b}[2J\r\u{85}\u{2028}\u{202e}", "\u{fffd}\u{10ffff}"] {
            output::print(odd);
        }
        output::print(&"x".repeat(10_000));
        output::print("all shown");
    }

    /// replies with a value of the config
    #[command(idempotent)]
    fn config(key: &str) -> Result<Option<String>, Failure> {
        config::try_get(key)
    }

    /// tells who sent the request
    #[command(idempotent)]
    fn caller() -> String {
        let caller = request::caller();
        [caller.name, caller.thumbprint].join(" ")
    }

    /// tells the request's id
    #[command(idempotent)]
    fn id() -> String {
        request::id()
    }

    /// replies with the first header of this name
    #[command(idempotent)]
    fn header(name: &str) -> Option<String> {
        request::header(name)
    }

    /// replies with all headers
    #[command(idempotent)]
    fn headers() -> String {
        let lines = request::headers().into_iter().map(|(name, value)| [name, value].join(": "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// tells how many milliseconds are left
    #[command(idempotent)]
    fn time_left() -> u64 {
        request::time_left().as_millis() as u64
    }

    /// writes to the store through wasi:keyvalue
    #[command(idempotent)]
    fn kv_set(key: &str, value: &str) -> Result<(), Failure> {
        Ok(bucket()?.set(key, value.as_bytes())?)
    }

    /// reads from the store through wasi:keyvalue
    #[command(idempotent)]
    fn kv_get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(bucket()?.get(key)?)
    }

    /// deletes from the store through wasi:keyvalue
    #[command(idempotent)]
    fn kv_delete(key: &str) -> Result<(), Failure> {
        Ok(bucket()?.delete(key)?)
    }

    /// adds to a number through wasi:keyvalue
    #[command]
    fn kv_increment(key: &str, delta: u64) -> Result<u64, Failure> {
        Ok(atomics::increment(&bucket()?, key, delta)?)
    }

    /// lists the store through wasi:keyvalue
    #[command(idempotent)]
    fn kv_keys() -> Result<String, Failure> {
        let bucket = bucket()?;
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = bucket.list_keys(cursor)?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys.join("\n"));
            }
        }
    }

    /// opens a store through wasi:keyvalue
    #[command(idempotent)]
    fn kv_open(store: &str) -> Result<(), Failure> {
        // The client chose the store.
        store::open(store).map_err(|error| Failure::from(error).as_is())?;
        Ok(())
    }

    /// writes through lictor:plugin/state
    #[command(idempotent)]
    fn state_set(key: &str, value: &str, ttl_ms: u64) -> Result<u64, Failure> {
        Store::default().set_for(key, value, Duration::from_millis(ttl_ms))
    }

    /// writes the request's body through lictor:plugin/state
    #[command(idempotent)]
    fn state_put(key: &str) -> Result<u64, Failure> {
        Store::default().set(key, request::body())
    }

    /// writes an entry back as it was read
    #[command(idempotent)]
    fn state_renew(key: &str) -> Result<u64, Failure> {
        let store = Store::default();
        let entry = store.entry(key)?.ok_or_else(|| Failure::not_found("there is no such key"))?;
        match entry.expires_in {
            Some(left) => store.compare_and_set_for(key, Some(entry.version), entry.value, left),
            None => store.compare_and_set(key, Some(entry.version), entry.value),
        }
    }

    /// writes through lictor:plugin/state if the entry is of this version
    #[command]
    fn state_swap(key: &str, version: u64, value: &str) -> Result<u64, Failure> {
        let expected = (version != 0).then_some(version);
        Store::default().compare_and_set(key, expected, value)
    }

    /// sends a request
    #[command]
    fn http(method: &str, url: &str, word: &str, timeout_ms: u64) -> Result<Vec<u8>, Failure> {
        let mut sent = http::Request::new(method, url).header("x-word", word).body(request::body());
        if timeout_ms > 0 {
            sent = sent.timeout(Duration::from_millis(timeout_ms));
        }
        let answer = sent.at_most(8 << 20).send()?;
        let head = format!("{} {}\n", answer.status, answer.header("x-answer").unwrap_or("-"));
        Ok([head.as_bytes(), &answer.body].concat())
    }

    /// counts its calls in this instance
    #[command]
    fn count() -> u64 {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// computes without end
    #[command(idempotent)]
    fn spin() {
        let mut turns = 0_u64;
        loop {
            turns = black_box(turns.wrapping_add(1));
        }
    }

    /// takes memory without end
    #[command(idempotent)]
    fn grow() {
        let mut taken: Vec<Vec<u8>> = Vec::new();
        loop {
            taken.push(black_box(vec![1; 1024 * 1024]));
        }
    }
}
