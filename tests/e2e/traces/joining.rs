//! Traces of callers: whose `traceparent` is believed, and how far.

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::web::Web;

use super::collector::Collector;
use super::web;
use crate::metrics::metrics;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A server that traces nothing by itself, its operator, a client that is believed, and one that is not.
fn start(collector: &Collector, web: &Web) -> (Server, Identity, Identity, Identity) {
    let [operator, trusted, other] = ["operator", "trusted", "other"].map(Identity::new);
    let setup = Setup::new().master("operator", &operator).client("other", &other, &["*"]).echo();
    let urls = format!("[plugins.web.grants]\nhttp = [{:?}]", web.url(""));
    let setup = setup.plugin("web", components::web(), &["fetch"], &urls);
    let role = "[roles.tracing]\ncommands = [\"*\", \"@ping\"]\ntrace = true";
    let thumbprint = trusted.sha256();
    let client = format!("[clients.trusted]\nthumbprints = [\"{thumbprint}\"]\nroles = [\"tracing\"]");
    let setup = setup.section(role).section(&client).section(&collector.section("0"));
    (setup.start(), operator, trusted, other)
}

#[test]
fn the_callers_trace_is_joined_where_its_role_grants_it() {
    let (collector, web) = (Collector::new(), web());
    let (server, _, trusted, other) = start(&collector, &web);
    let header = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    server.connect(&other).ask(&format!("echo other\r\n{header}"));
    let mut connection = server.connect(&trusted);
    assert_eq!(connection.ask(&format!("echo plain\r\n{header}")), "plain");
    connection.ask_framed(&format!("echo framed\r\nTraceParent:{}", &header[12..]));
    let spans = collector.last_spans(server);
    let echoed: Vec<_> = spans.iter().filter(|span| span.name == "echo").collect();
    assert_eq!(echoed.len(), 2, "{spans:?}");
    for span in echoed {
        assert_eq!((&*span.trace, &*span.parent), (TRACE, SPAN));
        assert_eq!(span.attribute("enduser.id"), "trusted");
    }
}

#[test]
fn a_header_that_is_malformed_or_repeated_is_ignored() {
    let (collector, web) = (Collector::new(), web());
    let (server, _, trusted, _) = start(&collector, &web);
    let mut connection = server.connect(&trusted);
    let good = format!("00-{TRACE}-{SPAN}-01");
    for header in [
        "traceparent:".to_owned(),
        format!("traceparent: {}", good.to_uppercase()),
        format!("traceparent: {good}-x"),
        format!("traceparent: ff{}", &good[2..]),
        format!("traceparent: 00-{}-{SPAN}-01", "0".repeat(32)),
        format!("traceparent: {good}\r\ntraceparent: {good}"),
        format!("trace-parent: {good}"),
    ] {
        assert_eq!(connection.ask(&format!("echo ignored\r\n{header}")), "ignored", "{header}");
    }
    connection.ask(&format!("@ping\r\ntraceparent: {good}"));
    let names: Vec<_> = collector.last_spans(server).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["@ping"]);
}

#[test]
fn a_caller_that_does_not_record_is_carried_on_and_not_recorded() {
    let (collector, web) = (Collector::new(), web());
    let (server, _, trusted, _) = start(&collector, &web);
    let mut connection = server.connect(&trusted);
    let sent = |command: &str, connection: &mut testkit::client::Connection| {
        connection.ask(command);
        let fields = web.seen().pop().unwrap().fields;
        fields.lines().find_map(|line| line.strip_prefix("traceparent: ")).map(str::to_owned)
    };
    let fetch = format!("fetch GET {}", web.url("/"));
    let on = sent(&format!("{fetch}\r\ntraceparent: 00-{TRACE}-{SPAN}-00"), &mut connection).unwrap();
    assert!(on.starts_with(&format!("00-{TRACE}-")) && on.ends_with("-00") && !on.contains(SPAN), "{on}");
    assert_eq!(sent(&fetch, &mut connection), None, "of a request without a trace");
    assert!(collector.last_spans(server).is_empty());
}

#[test]
fn a_caller_has_so_many_requests_recorded_and_no_more() {
    let (collector, web) = (Collector::new(), web());
    let (server, operator, trusted, _) = start(&collector, &web);
    let header = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let mut connection = server.connect(&trusted);
    let frames = connection.ask_all(&[(&*format!("echo a\r\n{header}"), ""); 400]);
    assert!(frames.iter().all(|frame| frame.text() == "a"));
    let over = metrics(&mut server.connect(&operator))["lictor_traces_over_rate_total"];
    let recorded = collector.last_spans(server).iter().filter(|span| span.name == "echo").count();
    assert_eq!(u64::try_from(recorded).unwrap() + over, 400);
    // A hundred at once, and those of the time that it took.
    assert!((100..300).contains(&recorded), "{recorded}");
}

#[test]
fn a_role_that_is_believed_no_more_is_not_before_plugins_are_loaded() {
    let (collector, web) = (Collector::new(), web());
    let (server, operator, trusted, _) = start(&collector, &web);
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&trusted));
    server.edit(|text| {
        let broken = "[plugins.broken]\ncomponent = \"broken.wasm\"\n";
        std::fs::write(server.folder().join("broken.wasm"), "no component").unwrap();
        text.replace("trace = true", "trace = false") + broken
    });
    let answer = operator.ask_framed("@reload");
    assert_eq!(answer.failure().0, "conflict", "{answer:?}");
    assert!(answer.message.contains("clients.trusted.roles"), "{answer:?}");
    connection.ask(&format!("echo a\r\ntraceparent: 00-{TRACE}-{SPAN}-01"));
    assert!(collector.last_spans(server).is_empty());
}
