//! Requests with an `Idempotency-Key`: run once, however often sent, across restarts, crashes and reloads.

use std::path::Path;
use std::thread;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::components::{self, STATEFUL_COMMANDS, STREAMS_COMMANDS};
use testkit::eventually;
use testkit::server::{Server, Setup};

use crate::metrics::metrics;

/// A server with the hostile plugin and a counting one, whose clients `tester` and `other` may do anything,
/// and with these `limits` and `state`.
struct Bench {
    server: Server,
    tester: Identity,
    other: Identity,
}

fn bench_with(keys: &str, limits: &str, state: &str) -> Bench {
    let (tester, other) = (Identity::new("tester"), Identity::new("other"));
    let setup = Setup::new().master("tester", &tester).master("other", &other).hostile(keys);
    let setup = setup.plugin("stateful", components::stateful(), &STATEFUL_COMMANDS, "timeout = \"60s\"");
    let setup = setup.section("[plugins.stateful.grants]\nkeyvalue = [\"default\"]");
    let setup = setup.section(&format!("[limits]\n{limits}")).section(&format!("[state]\n{state}"));
    Bench { server: setup.start(), tester, other }
}

fn bench(limits: &str) -> Bench {
    bench_with("", limits, "engine = \"memory\"")
}

fn in_file(path: &Path) -> Bench {
    bench_with("", "", &format!("engine = \"sqlite\"\npath = {path:?}"))
}

impl Bench {
    fn connect(&self) -> Connection {
        self.server.connect(&self.tester)
    }

    /// Counts how often `state-slow` began under `name`.
    fn runs(&self, name: &str) -> u64 {
        let counted = self.connect().ask(&format!("state-get default {name}"));
        counted.split(' ').next().and_then(|sum| sum.parse().ok()).unwrap_or(0)
    }

    fn wait_for_runs(&self, name: &str, runs: u64) {
        eventually("the command begins", || (self.runs(name) == runs).then_some(()));
    }
}

fn send(connection: &mut Connection, line: &str, key: &str) {
    connection.send(format!("{line}\r\nSequence: asked\r\nIdempotency-Key: {key}\r\n\r\n"));
}

fn ask(connection: &mut Connection, line: &str, key: &str) -> Frame {
    send(connection, line, key);
    connection.read_frame()
}

#[track_caller]
fn is_refused(frame: &Frame, code: &str, outcome: &str, words: &str) {
    assert_eq!(frame.failure(), (code, outcome), "{frame:?}");
    assert!(frame.message.contains(words), "{frame:?}");
}

#[test]
fn a_request_that_is_sent_again_is_answered_again_and_not_run_again() {
    let bench = bench("");
    let mut connection = bench.connect();
    let first = ask(&mut connection, "id", "k");
    assert_eq!(ask(&mut connection, "id", "k").text(), first.text());
    assert_eq!(ask(&mut bench.connect(), "id", "k").text(), first.text(), "on whatever connection");
    assert_ne!(ask(&mut connection, "id", "l").text(), first.text(), "another key is another request");
    assert_ne!(connection.ask("id"), first.text(), "without one it is run");
    // In a plain request, with another deadline, and quoted.
    connection.send("\"id\"\r\nidempotency-key:  k \r\nTimeout-Ms: 5000\r\n\r\n");
    assert_eq!(connection.read_reply(), first.text());

    let failed = ask(&mut connection, "fail conflict \"no more\"", "f");
    is_refused(&failed, "conflict", "failed", "no more");
    let again = ask(&mut connection, "fail conflict \"no more\"", "f");
    is_refused(&again, "conflict", "failed", "no more");
    let seen = ask(&mut connection, "header idempotency-KEY", "Seen!");
    assert_eq!(seen.text(), "Some(\"Seen!\")", "the plugin sees it");
}

#[test]
fn a_key_belongs_to_one_request() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection.send("body a\r\nA: b\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhello");
    assert_eq!(connection.read_reply(), "hello");
    for request in [
        "body b\r\nA: b\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhello",
        "body a\r\nA: c\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhello",
        "body a\r\nA: b\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhellO",
        "body-size a\r\nA: b\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhello",
    ] {
        connection.send(request.replacen("\r\n", "\r\nSequence: s\r\n", 1));
        is_refused(&connection.read_frame(), "conflict", "not-run", "was sent with another request");
    }
    connection.send("body a\r\nA: b\r\nIdempotency-Key: k\r\nSize: 5\r\n\r\nhello");
    assert_eq!(connection.read_reply(), "hello");
}

#[test]
fn each_client_has_keys_of_its_own() {
    let bench = bench("");
    let first = ask(&mut bench.connect(), "id", "k").text().to_owned();
    let mut other = bench.server.connect(&bench.other);
    let others = ask(&mut other, "id", "k").text().to_owned();
    assert_ne!(others, first);
    assert_eq!(ask(&mut other, "id", "k").text(), others);
    assert_eq!(ask(&mut bench.connect(), "id", "k").text(), first);
}

#[test]
fn of_requests_at_the_same_time_one_is_run() {
    let bench = bench("");
    let mut connections: Vec<Connection> = (0..20).map(|_| bench.connect()).collect();
    let answers: Vec<Frame> = thread::scope(|scope| {
        let asking = connections.iter_mut().map(|connection| {
            scope.spawn(move || {
                let mut frames = Vec::new();
                for _ in 0..20 {
                    frames.push(ask(connection, "state-slow default n 50", "k"));
                }
                frames
            })
        });
        asking.collect::<Vec<_>>().into_iter().flat_map(|asking| asking.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|frame| frame.status == "OK");
    assert!(done.iter().all(|frame| frame.text() == "1"), "{done:?}");
    assert!(!done.is_empty() && !refused.is_empty(), "{} and {}", done.len(), refused.len());
    refused.iter().for_each(|frame| is_refused(frame, "conflict", "not-run", "is still running; try again"));
    assert_eq!(bench.runs("n"), 1);
}

#[test]
fn an_answer_outlives_the_server() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    // No plugin has a store: the file is only for the answers.
    let start = || {
        let tester = Identity::new("tester");
        let setup = Setup::new().master("tester", &tester).hostile("");
        (setup.section(&format!("[state]\nengine = \"sqlite\"\npath = {path:?}")).start(), tester)
    };
    let (mut server, tester) = start();
    let first = ask(&mut server.connect(&tester), "id", "k").text().to_owned();
    is_refused(&ask(&mut server.connect(&tester), "fail denied no", "f"), "denied", "failed", "no");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let (mut server, tester) = start();
    // So that its id differs.
    server.connect(&tester).ask("id");
    assert_eq!(ask(&mut server.connect(&tester), "id", "k").text(), first);
    is_refused(&ask(&mut server.connect(&tester), "fail denied no", "f"), "denied", "failed", "no");
    let mut connection = server.connect(&tester);
    connection.ask("id");
    let second = ask(&mut connection, "id", "l").text().to_owned();
    server.signal("KILL");
    server.wait();
    let (server, tester) = start();
    assert_eq!(ask(&mut server.connect(&tester), "id", "l").text(), second, "what was told is kept");
    assert_ne!(ask(&mut server.connect(&tester), "id", "new").text(), second);
}

#[test]
fn a_command_that_ran_when_the_server_died_is_not_run_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let mut bench = in_file(&path);
    let mut connection = bench.connect();
    send(&mut connection, "state-slow default n 50000", "k");
    bench.wait_for_runs("n", 1);
    bench.server.signal("KILL");
    bench.server.wait();
    let bench = in_file(&path);
    let mut connection = bench.connect();
    for _ in 0..2 {
        let frame = ask(&mut connection, "state-slow default n 50000", "k");
        is_refused(&frame, "conflict", "unknown", "its end is not known; it is not run again");
    }
    assert_eq!(bench.runs("n"), 1);
    is_refused(&ask(&mut connection, "id", "k"), "conflict", "not-run", "another request");
    assert_eq!(ask(&mut connection, "state-slow default n 1", "l").text(), "2");
}

#[test]
fn what_ended_without_an_answer_of_its_own_is_not_run_again() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection
        .send("state-slow default t 9000\r\nTimeout-Ms: 1500\r\nSequence: s\r\nIdempotency-Key: t\r\n\r\n");
    let late = connection.read_frame();
    assert_eq!(late.failure(), ("timeout", "unknown"), "{late:?}");
    let again = ask(&mut connection, "state-slow default t 9000", "t");
    assert_eq!((again.failure(), &again.message), (late.failure(), &late.message));
    let trapped = ask(&mut connection, "trap", "trap");
    assert_eq!(trapped.failure(), ("plugin-trapped", "unknown"));
    assert_eq!(ask(&mut connection, "trap", "trap").message, trapped.message, "the same request's number");

    send(&mut connection, "state-slow default c 30000", "c");
    bench.wait_for_runs("c", 1);
    connection.send("@cancel asked\r\nSequence: stop\r\n\r\n");
    let mut frames = [connection.read_frame(), connection.read_frame()];
    frames.sort_by_key(|frame| frame.status.clone());
    is_refused(&frames[0], "cancelled", "unknown", "Cancelled");
    is_refused(&ask(&mut connection, "state-slow default c 30000", "c"), "conflict", "unknown", "not known");

    send(&mut connection, "state-slow default g 30000", "g");
    bench.wait_for_runs("g", 1);
    drop(connection);
    let mut connection = bench.connect();
    let given_up = eventually("the command is stopped", || {
        let frame = ask(&mut connection, "state-slow default g 30000", "g");
        (frame.failure() != ("conflict", "not-run")).then_some(frame)
    });
    is_refused(&given_up, "conflict", "unknown", "its end is not known");
    for name in ["t", "c", "g"] {
        assert_eq!(bench.runs(name), 1, "{name}");
    }
}

#[test]
fn what_was_not_run_leaves_its_key_free() {
    let bench = bench_with("concurrency = 1", "queue_timeout = \"100ms\"", "engine = \"memory\"");
    let mut connection = bench.connect();
    connection.send("id\r\nTimeout-Ms: 0\r\nSequence: s\r\nIdempotency-Key: k\r\n\r\n");
    assert_eq!(connection.read_frame().failure(), ("timeout", "not-run"));
    let mut busy = bench.connect();
    busy.send("sleep 1500\r\n\r\n");
    let mut keys = 0;
    let key = eventually("the plugin is busy", || {
        keys += 1;
        let key = format!("k{keys}");
        let frame = ask(&mut connection, "id", &key);
        (frame.status == "ERR").then(|| {
            is_refused(&frame, "busy", "not-run", "");
            key
        })
    });
    assert_eq!(busy.read_reply(), "slept");
    for key in ["k", &key] {
        let first = ask(&mut connection, "id", key);
        assert_eq!(ask(&mut connection, "id", key).text(), first.text());
    }
}

#[test]
fn a_window_ends() {
    let bench = bench("idempotency_window = \"2s\"");
    let mut connection = bench.connect();
    let first = ask(&mut connection, "id", "k").text().to_owned();
    assert_eq!(ask(&mut connection, "id", "k").text(), first);
    let second = eventually("the answer is forgotten", || {
        let answer = ask(&mut connection, "id", "k").text().to_owned();
        (answer != first).then_some(answer)
    });
    assert_eq!(ask(&mut connection, "id", "k").text(), second);
}

#[test]
fn a_client_fills_its_own_quota_and_no_more() {
    let bench = bench("idempotency_keys = 2\nidempotency_bytes = \"64KiB\"");
    let mut connection = bench.connect();
    let first = ask(&mut connection, "id", "a").text().to_owned();
    let large = ask(&mut connection, "big 100000", "b");
    assert_eq!(large.body.len(), 100_000, "it is told though it can't be kept");
    is_refused(&ask(&mut connection, "big 100000", "b"), "conflict", "unknown", "could not be kept");
    let full = ask(&mut connection, "id", "c");
    is_refused(&full, "rate-limited", "not-run", "take up this client's 2 keys; send it again later");
    assert_eq!(ask(&mut connection, "id", "a").text(), first);
    assert!(!connection.ask("id").starts_with("ERR"), "without a key it is run");
    assert_eq!(ask(&mut bench.server.connect(&bench.other), "id", "c").status, "OK");
    let metrics = metrics(&mut connection);
    let counted =
        ["keys_used_up", "answers_not_kept"].map(|name| metrics[&format!("lictor_idempotency_{name}_total")]);
    assert_eq!(counted, [1, 1]);
}

#[test]
fn a_large_answer_comes_back_byte_for_byte() {
    let folder = TempDir::new().unwrap();
    let state = format!("engine = \"sqlite\"\npath = {:?}", folder.path().join("state.db"));
    let bench = bench_with("reply = \"4MiB\"", "body = \"4MiB\"", &state);
    let body: String = (0..3_000_000).map(|place| char::from(b'!' + (place % 89) as u8)).collect();
    let mut connection = bench.connect();
    for _ in 0..2 {
        let request =
            format!("body\r\nSequence: s\r\nIdempotency-Key: k\r\nSize: {}\r\n\r\n{body}", body.len());
        connection.send(request);
        assert!(connection.read_frame().text() == body);
    }
    let refused = ask(&mut connection, "body", "k");
    is_refused(&refused, "conflict", "not-run", "another request");
}

#[test]
fn an_answer_that_needed_a_sequence_is_there_once_it_has_one() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection
        .send("state-slow default n 1\r\nIdempotency-Key: n\r\n\r\nblank-line\r\nIdempotency-Key: k\r\n\r\n");
    assert_eq!(connection.read_reply(), "1");
    assert_eq!(connection.read_reply(), "ERR Reply needs a Sequence header");
    assert_eq!(ask(&mut connection, "blank-line", "k").text(), "a\r\n\r\nb");
}

#[test]
fn plain_replies_keep_their_order() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection.send(
        "body-size\r\n\r\nstate-slow default n 100\r\nIdempotency-Key: a\r\n\r\nleak\r\n\r\n\
         state-slow default n 100\r\nIdempotency-Key: a\r\n\r\nstate-slow default n 1\r\nIdempotency-Key: b\r\n\r\n\
         args end\r\n\r\n",
    );
    let replies: Vec<String> = (0..6).map(|_| connection.read_reply()).collect();
    assert_eq!(replies, ["0", "1", "1", "1", "2", "\"end\""]);
}

#[test]
fn a_permission_that_is_gone_takes_the_answers_along() {
    let bench = bench("");
    let mut operator = bench.connect();
    let mut other = bench.server.connect(&bench.other);
    let first = ask(&mut other, "id", "k").text().to_owned();
    let whole = std::fs::read_to_string(bench.server.config()).unwrap();
    let entry = format!("[clients.other]\nthumbprints = [\"{}\"]\ncommands = ", bench.other.sha256());
    let all = format!("{entry}[\"*\", \"@*\"]");
    assert!(whole.contains(&all));
    bench.server.edit(|text| text.replace(&all, &format!("{entry}[\"leak\"]")));
    operator.ask("@reload");
    eventually("the permission is gone", || {
        let frame = ask(&mut other, "id", "k");
        (frame.status == "ERR").then(|| is_refused(&frame, "forbidden", "not-run", "not allowed"))
    });
    bench.server.edit(|text| text.replace(&format!("{entry}[\"leak\"]"), &all));
    operator.ask("@reload");
    let again = eventually("the permission is back", || {
        let frame = ask(&mut other, "id", "k");
        (frame.status == "OK").then(|| frame.text().to_owned())
    });
    assert_eq!(again, first);
}

#[test]
fn a_reload_keeps_what_is_kept_and_what_runs() {
    let bench = bench("idempotency_keys = 100\nidempotency_window = \"5m\"");
    let (mut connection, mut operator) = (bench.connect(), bench.connect());
    let first = ask(&mut connection, "id", "k").text().to_owned();
    let mut running = bench.connect();
    send(&mut running, "state-slow default n 5000", "r");
    bench.wait_for_runs("n", 1);
    bench.server.edit(|text| text.replace("idempotency_keys = 100", "idempotency_keys = 2"));
    assert_eq!(operator.ask("@reload"), "live     changed  limits.idempotency_keys");
    eventually("the quota is lower", || {
        let frame = ask(&mut connection, "leak", "new");
        (frame.status == "ERR").then(|| is_refused(&frame, "rate-limited", "not-run", "2 keys"))
    });
    assert_eq!(ask(&mut connection, "id", "k").text(), first);
    let again = ask(&mut connection, "state-slow default n 5000", "r");
    is_refused(&again, "conflict", "not-run", "still running");
    assert_eq!(running.read_frame().text(), "1");
    assert_eq!(ask(&mut connection, "state-slow default n 5000", "r").text(), "1");
    bench.server.edit(|text| text.replace("idempotency_window = \"5m\"", "idempotency_window = \"0s\""));
    assert_eq!(operator.ask("@reload"), "live     changed  limits.idempotency_window");
    eventually("keys are taken no more", || {
        let frame = ask(&mut connection, "id", "k");
        (frame.status == "ERR")
            .then(|| is_refused(&frame, "unavailable", "not-run", "keeps no Idempotency-Keys"))
    });
}

#[test]
fn streams_take_no_key_and_the_servers_own_commands_ignore_it() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let server = setup.plugin("streams", components::streams(), &STREAMS_COMMANDS, "").start();
    let mut connection = server.connect(&tester);
    let refused = ask(&mut connection, "count 3 1", "k");
    is_refused(&refused, "bad-arguments", "not-run", "streams takes no Idempotency-Key");
    assert_eq!(ask(&mut connection, "@ping", "k").text(), "pong");
    let whoami = ask(&mut connection, "@whoami", "k");
    assert!(whoami.text().starts_with("tester"), "the key is nobody's: {whoami:?}");
}
