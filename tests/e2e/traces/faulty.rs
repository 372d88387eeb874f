//! Collectors that hang, refuse, answer nonsense or are away: no request waits for them.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::web::Web;

use super::collector::{Collector, TAKEN};
use crate::metrics::metrics;

/// A server whose requests are all traced, for a collector at `url`.
fn tracing_to(url: &str) -> (Server, Connection) {
    let tester = Identity::new("tester");
    let section = format!("[telemetry]\notlp = {url:?}\nsample = 1");
    let server = Setup::new().master("tester", &tester).echo().section(&section).start();
    let connection = server.connect(&tester);
    (server, connection)
}

fn dropped(connection: &mut Connection) -> u64 {
    metrics(connection)["lictor_trace_spans_dropped_total"]
}

/// Waits until spans were dropped, and returns the reason in the log.
fn reason(server: &Server, connection: &mut Connection) -> String {
    assert_eq!(connection.ask("echo hello"), "hello");
    let entry = server.wait_for_log("the reason", |entry| entry.message().contains("does not take spans"));
    eventually("spans are counted", || (dropped(connection) > 0).then_some(()));
    entry.text("error").unwrap().to_owned()
}

#[test]
fn a_collector_that_refuses_for_good_is_told() {
    let of_length = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    for (answer, told) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_owned(), "it answered 400"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_owned(), "it answered 404"),
        (
            "HTTP/1.1 307 Elsewhere\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "it answered 307",
        ),
        (of_length(13) + "<html></html>", "its answer is not OTLP"),
        (of_length(100_000) + &"\0".repeat(100_000), "its answer is too large"),
    ] {
        let web = Web::answering(answer);
        let (server, mut connection) = tracing_to(&web.url(""));
        assert_eq!(reason(&server, &mut connection), told);
        assert_eq!(web.seen().len(), 1, "{told}");
    }
}

#[test]
fn a_part_that_a_collector_rejects_is_counted() {
    // `partial_success { rejected_spans: 1, error_message: "no" }`
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\n\x06\x08\x01\x12\x02no");
    let (server, mut connection) = tracing_to(&web.url(""));
    assert_eq!(reason(&server, &mut connection), "it rejected spans: no");
    assert_eq!(metrics(&mut connection)["lictor_trace_spans_sent_total"], 2);
}

#[test]
fn a_collector_that_is_busy_or_away_for_a_while_gets_its_spans() {
    let answers = std::sync::Mutex::new(
        [
            "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 429 Busy\r\nRetry-After: nonsense\r\nContent-Length: 0\r\n\r\n",
            "nonsense",
            TAKEN,
        ]
        .into_iter(),
    );
    let web = Web::new(move |_, connection| {
        let next = answers.lock().unwrap().next();
        connection.send(next.unwrap_or(TAKEN));
    });
    let collector = Collector { web };
    let (server, mut connection) = tracing_to(&collector.web.url(""));
    connection.ask("echo hello");
    eventually("the spans are sent", || {
        (metrics(&mut connection)["lictor_trace_spans_sent_total"] > 0).then_some(())
    });
    let seen = collector.web.seen();
    assert!(seen.len() >= 4 && seen[..4].iter().all(|request| request.bytes == seen[0].bytes), "{seen:?}");
    assert_eq!(dropped(&mut connection), 0);
    assert!(server.happened("the collector does not take spans; they are dropped") == 0);
}

#[test]
fn a_collector_that_hangs_costs_a_bounded_queue_and_no_time() {
    // It accepts, and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut server, mut connection) = tracing_to(&format!("http://{}", silent.local_addr().unwrap()));
    let before = server.settled_kib();
    for _ in 0..40 {
        let frames = connection.ask_all(&[("echo a", ""); 100]);
        assert!(frames.iter().all(|frame| frame.text() == "a"));
    }
    // Of each request three spans, and of all of them as many are kept as the queue has places, and a batch.
    let lost = dropped(&mut connection);
    assert!((12_000 - 2048 - 512..12_000).contains(&lost), "{lost}");
    let grown = server.settled_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn a_collector_that_is_not_there_costs_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut server, mut connection) = tracing_to(&format!("http://{closed}"));
    assert!(reason(&server, &mut connection).contains("refused"));
    assert!(TcpStream::connect(closed).is_err());
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn the_last_spans_are_sent_when_the_server_stops() {
    let collector = Collector::new();
    let (server, mut connection) = tracing_to(&collector.web.url(""));
    connection.ask("echo hello");
    assert!(collector.last_spans(server).iter().any(|span| span.name == "echo"));
}
