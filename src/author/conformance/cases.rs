//! The requests to a conformance plugin, and the results that they must have: data, in the order of
//! `docs/conformance.md`.

use super::expected::Expected::{
    self, Closed, Fails, FailsOneOf, Logs, LogsAndFails, Matches, Prints, Replies,
};
use crate::wire::Code;

/// One request and its expected result.
pub(super) struct Case {
    /// The behaviour that it shows.
    pub(super) name: &'static str,
    /// The head of the request except its last line; the command is its first word.
    pub(super) head: &'static str,
    /// The request's body.
    pub(super) body: fn() -> Vec<u8>,
    /// The expected result.
    pub(super) expected: Expected,
}

const fn case(name: &'static str, head: &'static str, expected: Expected) -> Case {
    Case { name, head, body: Vec::new, expected }
}

/// Name of the suite's client, whose certificate is made for the run.
pub(super) const CLIENT: &str = "conformance";

/// The content of `wasi:config`.
pub(super) const CONFIG: (&str, &str) = ("greeting", "hello ☃");

/// A body of 1 MiB in which every byte occurs, with none twice in a row.
fn large() -> Vec<u8> {
    (0..1_u32 << 20).map(|n| (n.wrapping_mul(7) ^ (n >> 8)) as u8).collect()
}

fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

fn hundred_kilobytes() -> Vec<u8> {
    vec![b'v'; 100_000]
}

/// A line that ends after `MAX_LINE_BYTES` of the log, and one after it.
fn long_line() -> Vec<u8> {
    ("☃".repeat(3000) + "\nbehind it").into()
}

/// The same, longer than a reply may be.
fn two_megabytes() -> Vec<u8> {
    ("L".repeat(2 << 20) + "\nbehind it").into()
}

/// Data that crosses between plugin and host beside replies, where replies may have no more than
/// [`MAX_REPLY_BYTES`]: each case runs in a fresh instance, and then in one that is kept.
#[rustfmt::skip] // a table
pub(super) const BORDER: &[Case] = &[
    Case { name: "a value larger than a reply", head: "state-put large", body: hundred_kilobytes, expected: Matches(|reply| reply.parse::<u64>().is_ok()) },
    Case { name: "a line that is not ended is logged with its request", head: "say", body: || "half a line ☃".into(), expected: Prints(|log| log.contains("half a line ☃")) },
    Case { name: "and not with the next", head: "echo hello", body: Vec::new, expected: Prints(|log| !log.contains("half a line")) },
    Case { name: "a long line is cut between characters", head: "say", body: long_line, expected: Prints(|log| {
        log.contains(&"☃".repeat(682)) && !log.contains(&"☃".repeat(683)) && !log.contains('\u{fffd}') && log.contains("left_out_bytes=6954") && log.contains("behind it")
    }) },
    Case { name: "a line of 2 MiB stops nothing", head: "say", body: two_megabytes, expected: Prints(|log| log.contains("LLLL") && log.contains("behind it")) },
    case("an entry that expires", "state-set brief x 3600000", Matches(|reply| reply.parse::<u64>().is_ok())),
    case("is written back as it was read", "state-renew brief", Matches(|reply| reply.parse::<u64>().is_ok())),
];

/// The longest reply of the plugins that run [`BORDER`].
pub(super) const MAX_REPLY_BYTES: usize = 1024;

/// Each case runs in a fresh instance, one after the other, over the same store.
#[rustfmt::skip] // a table
pub(super) const CASES: &[Case] = &[
    case("echo: one argument", "echo hello", Replies(|| b"hello".to_vec())),
    case("echo: several arguments", "echo a b c", Replies(|| b"a b c".to_vec())),
    case("echo: none", "echo", Replies(Vec::new)),
    case("echo: an empty argument", "echo \"\" x \"\"", Replies(|| b" x ".to_vec())),
    case("echo: Unicode", "echo \"grüße ☃ 🦀 e\\xcc\\x81\" \u{65e5}\u{672c}", Replies(|| "grüße ☃ 🦀 e\u{301} \u{65e5}\u{672c}".into())),
    case("echo: control characters", "echo \"a\\x00b\\r\\n\\x1b[2J\\x7f\"", Replies(|| b"a\x00b\r\n\x1b[2J\x7f".to_vec())),
    case("body: empty", "body", Replies(Vec::new)),
    Case { name: "body: every byte", head: "body", body: every_byte, expected: Replies(every_byte) },
    Case { name: "body: 1 MiB both ways", head: "body", body: large, expected: Replies(large) },
    case("fail: bad-arguments", "fail bad-arguments no", Fails(Code::BadArguments, "no")),
    case("fail: not-found", "fail not-found \"a b ☃\"", Fails(Code::NotFound, "a b ☃")),
    case("fail: conflict", "fail conflict no", Fails(Code::Conflict, "no")),
    case("fail: denied", "fail denied no", Fails(Code::Denied, "no")),
    case("fail: unavailable", "fail unavailable no", Fails(Code::Unavailable, "no")),
    case("fail: failed", "fail failed no", Fails(Code::PluginFailed, "no")),
    case("fail: a code of its own", "fail on-fire no", Fails(Code::PluginFailed, "no")),
    case("fail: too few arguments", "fail", FailsOneOf(&[Code::BadArguments])),
    case("panic: its text is in the log", "panic \"the sky is falling\"", LogsAndFails("the sky is falling", &[Code::PluginTrapped, Code::PluginFailed])),
    case("log: trace", "log trace part \"said at trace\"", Logs("TRACE", "said at trace")),
    case("log: debug", "log debug part \"said at debug\"", Logs("DEBUG", "said at debug")),
    case("log: info", "log info part \"said at info ☃\"", Logs("INFO", "said at info ☃")),
    case("log: warn", "log warn part \"said at warn\"", Logs("WARN", "said at warn")),
    case("log: error", "log error part \"said at error\"", Logs("ERROR", "said at error")),
    case("log: critical", "log critical part \"said at critical\"", Logs("ERROR", "said at critical")),
    case("log: no such level", "log loud part no", FailsOneOf(&[Code::BadArguments])),
    case("print", "print \"printed ☃\"", Logs("INFO", "printed ☃")),
    case("print: what is hard to show", "print-odd", Logs("INFO", "all shown")),
    case("config: a value", "config greeting", Replies(|| CONFIG.1.into())),
    case("config: none", "config missing", FailsOneOf(&[Code::NotFound])),
    case("request: caller", "caller", Matches(|reply| {
        let (name, thumbprint) = reply.split_once(' ').unwrap_or_default();
        name == CLIENT && thumbprint.len() == 64 && thumbprint.bytes().all(|byte| byte.is_ascii_hexdigit())
    })),
    case("request: id", "id", Matches(|reply| reply.starts_with('c') && reply.contains('-'))),
    case("request: a header in any case", "header x-colour\r\nX-Colour: blue ☃", Replies(|| "blue ☃".into())),
    case("request: no such header", "header x-colour", FailsOneOf(&[Code::NotFound])),
    case("request: the protocol's own headers are not told", "header timeout-ms\r\nTimeout-Ms: 5000", FailsOneOf(&[Code::NotFound])),
    case("request: all headers in order", "headers\r\nB: 2\r\nA: 1\r\nb: 3", Replies(|| b"B: 2\nA: 1\nb: 3".to_vec())),
    case("request: time left", "time-left", Matches(|reply| reply.parse().is_ok_and(|ms: u64| (1..=60_000).contains(&ms)))),
    case("kv: nothing yet", "kv-get a", FailsOneOf(&[Code::NotFound])),
    case("kv: set", "kv-set a \"value ☃\"", Replies(Vec::new)),
    case("kv: get", "kv-get a", Replies(|| "value ☃".into())),
    case("kv: set again", "kv-set a other", Replies(Vec::new)),
    case("kv: get again", "kv-get a", Replies(|| b"other".to_vec())),
    case("kv: an empty value", "kv-set empty \"\"", Replies(Vec::new)),
    case("kv: an empty value is there", "kv-get empty", Replies(Vec::new)),
    case("kv: increment from nothing", "kv-increment n 5", Replies(|| b"5".to_vec())),
    case("kv: increment", "kv-increment n 37", Replies(|| b"42".to_vec())),
    case("kv: increment what is no number", "kv-increment a 1", FailsOneOf(&[Code::PluginFailed])),
    case("kv: keys", "kv-keys", Matches(|reply| {
        let mut keys: Vec<&str> = reply.split('\n').collect();
        keys.sort_unstable();
        keys == ["a", "empty", "n"]
    })),
    case("kv: delete", "kv-delete a", Replies(Vec::new)),
    case("kv: deleted", "kv-get a", FailsOneOf(&[Code::NotFound])),
    case("kv: an impossible key", "kv-set \"\" x", FailsOneOf(&[Code::PluginFailed, Code::BadArguments])),
    case("kv: open", "kv-open default", Replies(Vec::new)),
    case("kv: a store that is not granted", "kv-open other", FailsOneOf(&[Code::Denied])),
    case("state: set with a time to live", "state-set soon x 3600000", Matches(|reply| reply.parse::<u64>().is_ok())),
    case("state: what is set there is there for wasi:keyvalue", "kv-get soon", Replies(|| b"x".to_vec())),
    case("state: a time to live of nothing, for which the client is not to blame", "state-set soon x 0", LogsAndFails("not a time to live", &[Code::PluginFailed])),
    case("state: compare-and-set where there is none", "state-swap fresh 0 one", Matches(|reply| reply.parse::<u64>().is_ok())),
    case("state: compare-and-set where there is one", "state-swap fresh 0 two", FailsOneOf(&[Code::Conflict])),
    case("state: a version that never was", "state-swap fresh 999999 two", FailsOneOf(&[Code::Conflict])),
    case("http: a response", "http GET http://{web}/echo?a=b word 0", Replies(|| "200 grüße\nGET word ".into())),
    Case { name: "http: a body both ways", head: "http POST http://{web}/echo word 0", body: every_byte, expected: Replies(|| [b"200 gr\xc3\xbc\xc3\x9fe\nPOST word ".as_slice(), &every_byte()].concat()) },
    case("http: a status that is no success", "http GET http://{web}/missing word 0", Replies(|| "404 grüße\nno such thing".into())),
    case("http: a redirection is not followed", "http GET http://{web}/moved word 0", Replies(|| "302 grüße\n".into())),
    case("http: a URL that is not granted, and the grant that the log asks for", "http GET http://localhost:{port}/echo word 0", LogsAndFails("to `http` of [plugins.", &[Code::PluginFailed])),
    case("http: what is no URL", "http GET nowhere word 0", FailsOneOf(&[Code::PluginFailed])),
    case("http: a header that can't be sent", "http GET http://{web}/echo \"a\\r\\nb: c\" 0", FailsOneOf(&[Code::PluginFailed])),
    case("http: nothing listens", "http GET http://{closed}/echo word 0", FailsOneOf(&[Code::Unavailable])),
    case("http: no answer in time", "http GET http://{web}/silent word 100", FailsOneOf(&[Code::Unavailable])),
    case("http: no HTTP", "http GET http://{web}/wrong word 0", FailsOneOf(&[Code::Unavailable])),
    case("http: an answer that breaks off", "http GET http://{web}/broken word 0", FailsOneOf(&[Code::Unavailable])),
    case("http: an answer that is too large", "http GET http://{web}/large word 0", FailsOneOf(&[Code::PluginFailed])),
    case("arguments: no number", "kv-increment n many", FailsOneOf(&[Code::BadArguments])),
    case("count: a fresh instance begins anew", "count", Replies(|| b"1".to_vec())),
    case("count: and the next one too", "count", Replies(|| b"1".to_vec())),
    case("the deadline", "spin\r\nTimeout-Ms: 500", Closed(&[Code::Timeout])),
    case("the memory limit, and the key that raises it", "grow", LogsAndFails("raise `memory` of the plugin", &[Code::PluginLimit, Code::PluginTrapped, Code::PluginFailed])),
    case("after all that", "echo still here", Replies(|| b"still here".to_vec())),
];
