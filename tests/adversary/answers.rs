//! Web servers that answer plugins' requests endlessly, with data that HTTP and TLS skip.

use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::web::Web;

use crate::assert_serves;

/// Concurrent calls, and the requests of each.
const CALLS: usize = 4;
const REQUESTS: usize = 8;

/// Mean time of another client's `echo` during the attack; it takes several times as long if a read of an
/// answer never yields.
const UNDISTURBED: Duration = Duration::from_millis(150);

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sets up a server whose plugin may send requests to `origin` and move `bytes`, with a client that may do
/// anything, and a well-behaved one.
fn granting(origin: &str, bytes: &str) -> (Setup, Identity, Identity) {
    let (greedy, quiet) = (Identity::new("greedy"), Identity::new("quiet"));
    let setup = Setup::new().master("greedy", &greedy).client("quiet", &quiet, &["echo", "@ping"]).echo();
    let keys = format!("timeout = \"1s\"\nhost_bytes = {bytes:?}");
    let setup = setup.plugin("web", components::web(), &["at-once"], &keys);
    (setup.section(&format!("[plugins.web.grants]\nhttp = [{origin:?}]")), greedy, quiet)
}

/// Answers with `start`, and then endlessly with `piece`.
fn endless(start: &str, piece: &str) -> Web {
    let (start, pieces) = (start.to_owned(), piece.repeat((256 << 10) / piece.len()));
    Web::new(move |_, connection| {
        connection.send(&start);
        connection.send_without_end(&pieces);
    })
}

/// Returns the code of the failure with which a call ended, or the words of its plugin.
fn end(connection: &mut Connection) -> String {
    let frame = connection.read_frame();
    let (code, _) = frame.failure();
    if code == "plugin-failed" { frame.message.clone() } else { code.to_owned() }
}

#[test]
fn an_answer_without_end_is_bounded_and_holds_nobody_up() {
    let fields: String = (0..90).map(|number| format!("A{number}: b\r\n")).collect();
    let early_hints = format!("HTTP/1.1 103 Early Hints\r\n{fields}\r\n");
    let too_large = "ErrorCode::HttpResponseHeaderSectionSize(None)";
    let protocol = "HTTP protocol error";
    for (what, start, piece, told) in [
        ("informational responses", "", "HTTP/1.1 100 Continue\r\n\r\n", too_large),
        ("informational responses of many fields", "", &early_hints, too_large),
        ("empty lines before the response", "", "\r\n", too_large),
        ("zeros in front of a chunk's size", CHUNKED, "0", "plugin-limit"),
        ("spaces behind a chunk's size", &format!("{CHUNKED}1"), " ", "plugin-limit"),
        ("a chunk's extension", &format!("{CHUNKED}1;"), "x", protocol),
        ("small chunks", CHUNKED, "1\r\na\r\n", "plugin-limit"),
        ("trailers", &format!("{CHUNKED}0\r\n"), "A: b\r\n", protocol),
        ("a body", "HTTP/1.1 200 OK\r\n\r\n", "b", "plugin-limit"),
    ] {
        let web = endless(start, piece);
        let (setup, greedy, quiet) = granting(&web.url(""), "4MiB");
        let server = setup.start();
        let mut connection = server.connect(&greedy);
        for number in 0..CALLS {
            let url = web.url("/");
            connection.send(format!("at-once {REQUESTS} {url}\r\nSequence: {number}\r\n\r\n"));
        }
        let (mean, ends) = thread::scope(|scope| {
            let calls = scope.spawn(|| (0..CALLS).map(|_| end(&mut connection)).collect::<Vec<_>>());
            (mean_of_echo(&server, &quiet, || calls.is_finished()), calls.join().unwrap())
        });
        assert!(mean < UNDISTURBED, "{what}: {mean:?}, {ends:?}");
        // On a busy machine the deadline may come first.
        assert!(ends.iter().all(|end| end.contains(told) || end == "timeout"), "{what}: {ends:?}");
        assert_serves(&server, &quiet);
    }
}

/// Returns the mean time of an `echo` until `is_over`; at least one is measured.
fn mean_of_echo(server: &Server, quiet: &Identity, is_over: impl Fn() -> bool) -> Duration {
    let mut connection = server.connect(quiet);
    let (begun, mut count) = (Instant::now(), 0);
    while count == 0 || !is_over() {
        assert_eq!(connection.ask("echo hello"), "hello");
        count += 1;
    }
    begun.elapsed() / count
}

#[test]
fn all_that_a_server_sends_counts_for_the_call() {
    let identity = Identity::of_server();
    let web = Web::secure_with_tickets(&identity, 600, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let origin = format!("https://{}", web.address);
    let (setup, greedy, quiet) = granting(&origin, "32KiB");
    let (certificate, _) = identity.write(setup.folder(), "trusted");
    let server = setup.start_by(|mut lictor| {
        lictor.env("SSL_CERT_FILE", certificate);
        lictor
    });
    let frame = server.connect(&greedy).ask_framed(&format!("at-once 1 {origin}/"));
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{frame:?}");
    assert_serves(&server, &quiet);
}
