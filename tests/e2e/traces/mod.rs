//! Traces: the spans of requests, their parents and attributes, and the collectors that they are sent to.

mod collector;
mod faulty;
mod joining;
mod rotel;

use std::time::Duration;

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::web::Web;

use self::collector::Collector;

const STATE: &str = "[state]\nengine = \"sqlite\"\npath = \"state.db\"";

/// A server of which each request is traced, with a plugin for each kind of what a request waits for.
fn traced(collector: &Collector, web: &Web) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().hostile("").section(STATE);
    let stores = "[plugins.stateful.grants]\nkeyvalue = [\"default\"]";
    let stateful = ["state-set", "state-get", "kv-set", "kv-get"];
    let setup = setup.plugin("stateful", components::stateful(), &stateful, stores);
    let urls = format!("[plugins.web.grants]\nhttp = [{:?}]", web.url(""));
    let setup = setup.plugin("web", components::web(), &["fetch", "whole"], &urls);
    let commands = "[plugins.relay.grants]\ncommands = [\"*\"]";
    let setup = setup.plugin("relay", components::relaying(), &["run-streamed"], commands);
    (setup.section(&collector.section("1")).start(), tester)
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn web() -> Web {
    Web::answering(HELLO)
}

#[test]
fn a_request_is_a_span_with_those_of_what_it_waited_for() {
    let (collector, web) = (Collector::new(), web());
    let (server, tester) = traced(&collector, &web);
    let mut connection = server.connect(&tester);
    connection.ask("state-set default secret-key secret-value");
    let root = collector.span("state-set");
    assert_eq!((root.kind, &*root.parent, root.is_failed), (2, "", false));
    for (name, value) in [
        ("rpc.system.name", "lictor"),
        ("rpc.method", "state-set"),
        ("rpc.status_code", "ok"),
        ("rpc.response.status_code", "ok"),
        ("lictor.plugin", "stateful"),
        ("lictor.request", "c1-1"),
        ("enduser.id", "tester"),
        ("network.peer.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &server.address().port().to_string()),
    ] {
        assert_eq!(root.attribute(name), value, "{name}");
    }
    assert_eq!(root.attributes.len(), 10, "{root:?}");
    let facts = &root.resource;
    assert_eq!((&*facts["service.name"], &*facts["service.version"]), ("lictor", env!("CARGO_PKG_VERSION")));
    assert_eq!(facts["service.instance.id"].len(), 32);
    let parts = collector.parts(&root);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["instance", "queue", "state.set"]);
    let commits = collector.parts(&parts["state.set"]);
    assert_eq!(commits.keys().collect::<Vec<_>>(), ["state.commit"]);
    parts.values().for_each(|part| part.assert_within(&root));
    commits["state.commit"].assert_within(&parts["state.set"]);
    assert!(parts["queue"].times.1 <= parts["instance"].times.1, "{parts:?}");
    assert!(parts["instance"].times.1 <= parts["state.set"].times.0, "{parts:?}");
    // Neither arguments nor certificates are told.
    let told = format!("{:?}", collector.spans());
    assert!(!told.contains("secret") && !told.contains(&tester.sha256()), "{told}");
    connection.ask("kv-set default key value");
    let root = collector.span("kv-set");
    let parts = collector.parts(&root);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["instance", "keyvalue.open", "keyvalue.set", "queue"]);
    assert!(collector.parts(&parts["keyvalue.set"]).contains_key("state.commit"));
    connection.ask("state-get default key");
    assert!(collector.parts(&collector.span("state-get")).contains_key("state.get"));
}

#[test]
fn a_command_of_a_command_is_a_part_of_its_caller() {
    let (collector, web) = (Collector::new(), web());
    let (server, tester) = traced(&collector, &web);
    let mut connection = server.connect(&tester);
    connection.ask_framed("run-streamed state-set default k v");
    let outer = collector.span("run-streamed");
    let nested = collector.parts(&outer)["state-set"].clone();
    assert_eq!((nested.kind, nested.attribute("rpc.method"), nested.is_failed), (1, "state-set", false));
    let parts = collector.parts(&nested);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["instance", "queue", "state.set"]);
    nested.assert_within(&outer);
    parts.values().for_each(|part| part.assert_within(&nested));
    connection.ask_framed("run-streamed fail conflict no");
    let failed = collector.with("error.type", "conflict");
    assert_eq!((&*failed.name, failed.is_failed), ("fail", true));
    connection.ask_framed(&format!("run-streamed {}", "x".repeat(300)));
    let unknown = collector.with("error.type", "unknown-command");
    assert_eq!((&*unknown.name, unknown.attribute("rpc.method")), ("_OTHER", "_OTHER"));
}

#[test]
fn a_request_over_http_carries_the_trace_on() {
    let (collector, web) = (Collector::new(), web());
    let (server, tester) = traced(&collector, &web);
    let mut connection = server.connect(&tester);
    let url = web.url("/path/secret?token=secret");
    for command in ["fetch", "whole"] {
        connection.ask(&format!("{command} GET {url} header=traceparent:mine"));
        let root = collector.span(command);
        let request = collector.parts(&root)["GET"].clone();
        assert_eq!((request.kind, request.is_failed), (3, false));
        for (name, value) in [
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", &web.address.port().to_string()),
            ("url.scheme", "http"),
        ] {
            assert_eq!(request.attribute(name), value, "{name}");
        }
        assert_eq!(request.attributes.len(), 5, "{request:?}");
        let sent = web.seen().pop().unwrap().fields;
        let header = format!("traceparent: 00-{}-{}-01\n", root.trace, request.id);
        assert!(sent.contains(&header) && !sent.contains("mine"), "{sent:?}");
        request.assert_within(&root);
    }
    let closed = Web::answering("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    let (server, tester) = traced(&collector, &closed);
    server.connect(&tester).ask(&format!("fetch PURGE {}", closed.url("")));
    let failed = collector.with("error.type", "503");
    assert_eq!((&*failed.name, failed.attribute("http.request.method")), ("HTTP", "_OTHER"));
}

#[test]
fn failures_are_told_by_their_code() {
    let (collector, web) = (Collector::new(), web());
    let (server, tester) = traced(&collector, &web);
    let mut connection = server.connect(&tester);
    connection.ask_framed("fail not-found nothing");
    let failed = collector.span("fail");
    assert_eq!((failed.attribute("error.type"), failed.is_failed), ("not-found", true));
    assert_eq!(failed.attribute("rpc.response.status_code"), "not-found");
    connection.ask_framed(&format!("nothing-{}", "x".repeat(4000)));
    let unknown = collector.span("_OTHER");
    assert_eq!(
        (unknown.attribute("rpc.method"), unknown.attribute("error.type")),
        ("_OTHER", "unknown-command")
    );
    assert_eq!(unknown.attribute("lictor.plugin"), "");
    connection.ask("@ping");
    assert_eq!(collector.span("@ping").attribute("lictor.plugin"), "");
    assert!(collector.parts(&collector.span("@ping")).is_empty());
    connection.ask_framed("sleep 60000\r\nTimeout-Ms: 50");
    assert_eq!(collector.span("sleep").attribute("error.type"), "timeout");
    // What its client no longer waits for has a span as well.
    connection.send("spin\r\nSequence: 1\r\n\r\n@ping\r\nSequence: 2\r\n\r\n");
    connection.read_frame();
    drop(connection);
    assert_eq!(collector.span("spin").attribute("error.type"), "cancelled");
}

#[test]
fn a_warm_instance_is_not_made() {
    let (collector, tester) = (Collector::new(), Identity::new("tester"));
    let setup = Setup::new().master("tester", &tester).section(&collector.section("1"));
    let server = setup.plugin("echo", components::echo(), &["echo"], "instances = \"shared\"").start();
    let mut connection = server.connect(&tester);
    let frames = connection.ask_all(&[("echo a", ""); 20]);
    assert!(frames.iter().all(|frame| frame.text() == "a"));
    let spans = collector.last_spans(server);
    let count = |name: &str| spans.iter().filter(|span| span.name == name).count();
    assert_eq!((count("echo"), count("queue")), (20, 20));
    assert_eq!(count("instance"), 1, "{spans:?}");
}

#[test]
fn what_waited_in_vain_shows_for_how_long() {
    let (collector, tester) = (Collector::new(), Identity::new("tester"));
    let setup = Setup::new().master("tester", &tester).hostile("").section(&collector.section("1"));
    let limits = "[limits]\nconcurrent_commands = 1\nqueue_timeout = \"200ms\"";
    let server = setup.section(limits).start();
    let mut connection = server.connect(&tester);
    connection.send("sleep 60000\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.ask_framed("fail conflict no").failure(), ("busy", "not-run"));
    let root = collector.with("error.type", "busy");
    let parts = collector.parts(&root);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["queue"]);
    let (began, ended) = parts["queue"].times;
    assert!(Duration::from_nanos(ended - began) >= Duration::from_millis(200), "{parts:?}");
}

#[test]
fn a_part_of_the_requests_is_traced() {
    let (collector, tester) = (Collector::new(), Identity::new("tester"));
    let setup = Setup::new().master("tester", &tester).echo().section(&collector.section("0.2"));
    let server = setup.section("[limits]\nrequests_per_second = 1000000").start();
    let mut connection = server.connect(&tester);
    (0..20).for_each(|_| {
        connection.ask_all(&[("echo a", ""); 100]);
    });
    let count = collector.last_spans(server).iter().filter(|span| span.name == "echo").count();
    // Of 2,000 a fifth, usually give or take 18.
    assert!((300..500).contains(&count), "{count}");
}

#[test]
fn a_reload_turns_traces_on_and_off() {
    let (first, second, tester) = (Collector::new(), Collector::new(), Identity::new("tester"));
    let setup = Setup::new().master("tester", &tester).echo();
    let server = setup.start();
    let mut connection = server.connect(&tester);
    let plain = std::fs::read_to_string(server.config()).unwrap();
    let mut reload = |section: &str, told: &str| {
        server.edit(|_| format!("{plain}{section}"));
        let answer = connection.ask("@reload");
        assert!(answer.contains(told), "{answer}");
        assert_eq!(connection.ask("echo hello"), "hello");
    };
    reload(&first.section("1"), "added    telemetry");
    first.span("echo");
    reload(&second.section("1"), "telemetry.otlp");
    second.span("echo");
    reload(&second.section("0"), "telemetry.sample");
    reload("", "removed  telemetry");
    first.last_spans(server);
    let count = |collector: &Collector| collector.spans().iter().filter(|span| span.name == "echo").count();
    assert_eq!((count(&first), count(&second)), (1, 1));
}

#[test]
fn a_collector_over_tls_has_to_show_a_trusted_certificate() {
    for (shown, is_trusted) in [(Identity::of_server(), true), (Identity::new("elsewhere"), false)] {
        let (collector, tester) = (Collector::secure(&shown), Identity::new("tester"));
        let port = collector.web.address.port();
        let section = format!("[telemetry]\notlp = \"https://localhost:{port}/otlp\"\nsample = 1");
        let setup = Setup::new().master("tester", &tester).echo().section(&section);
        let (certificate, _) = shown.write(setup.folder(), "trusted");
        let server = setup.start_by(|mut lictor| {
            lictor.env("SSL_CERT_FILE", certificate);
            lictor
        });
        server.connect(&tester).ask("echo hello");
        if is_trusted {
            collector.span("echo");
            assert_eq!(collector.web.seen()[0].line, "POST /otlp/v1/traces HTTP/1.1");
        } else {
            let entry = server.wait_for_log("the refusal", |entry| entry.message().contains("does not take"));
            assert!(entry.text("error").unwrap().contains("certificate"), "{entry:?}");
            assert!(collector.web.seen().is_empty());
        }
    }
}
