//! HTTP requests of plugins: granted, withheld, exceeded. The servers they reach are those of `testkit::web`.

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::server::{Entry, Server, Setup};
use testkit::tools::{finish, lictor};
use testkit::web::Web;

const COMMANDS: [&str; 10] = [
    "fetch",
    "whole",
    "follow",
    "at-once",
    "body-size",
    "ignore-body-error",
    "flood",
    "keep",
    "kept",
    "hoard-bodies",
];

pub(super) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kind: test\r\n\r\nhello";

pub(super) fn setup(keys: &str, grants: &str) -> (Setup, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).plugin("web", components::web(), &COMMANDS, keys);
    (setup.section(&format!("[plugins.web.grants]\n{grants}")), tester)
}

pub(super) fn server(keys: &str, grants: &str) -> (Server, Identity) {
    let (setup, tester) = setup(keys, grants);
    (setup.start(), tester)
}

/// Starts a server whose plugin may send requests to all of `web`.
pub(super) fn granting(web: &Web, keys: &str) -> (Server, Identity) {
    server(keys, &format!("http = [{:?}]", web.url("")))
}

/// Returns the words of a plugin that got an error instead of a response.
#[track_caller]
pub(super) fn refusal(connection: &mut Connection, command: &str) -> String {
    let frame = connection.ask_framed(command);
    assert_eq!(frame.failure(), ("plugin-failed", "failed"), "{command}: {frame:?}");
    frame.message
}

/// Returns the log's entry about a request that a command wanted to send.
pub(super) fn denial(server: &Server) -> Entry {
    let of_a_command = |entry: &Entry| entry.text("request").is_some_and(|request| request.starts_with('c'));
    server
        .wait_for_log("the refusal", |entry| entry.message() == "HTTP request denied" && of_a_command(entry))
}

#[test]
fn a_granted_request_is_sent_and_answered() {
    let web = Web::answering(HELLO);
    let (server, tester) = granting(&web, "");
    let mut connection = server.connect(&tester);
    let shown = "200\ncontent-length: 5\nx-kind: test\n\nhello";
    assert_eq!(connection.ask(&format!("fetch GET {}", web.url("/a?b=c"))), shown);
    assert_eq!(connection.ask(&format!("fetch POST {} body=some header=X-Id:7", web.url(""))), shown);
    assert_eq!(connection.ask(&format!("fetch PURGE {}", web.url("?x"))), shown);
    let seen = web.seen();
    let lines: Vec<&str> = seen.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines, ["GET /a?b=c HTTP/1.1", "POST / HTTP/1.1", "PURGE /?x HTTP/1.1"]);
    assert!(seen.iter().all(|seen| seen.fields.contains(&format!("host: {}\n", web.address))), "{seen:?}");
    assert_eq!((seen[0].body.as_str(), seen[1].body.as_str()), ("", "some"));
    assert!(seen[1].fields.contains("x-id: 7\n") || seen[1].fields.contains("x-id:7\n"), "{seen:?}");
    let large = "x".repeat(6000);
    connection.ask(&format!("fetch POST {} body={large}", web.url("/large")));
    assert_eq!(web.seen()[3].body, large);
}

#[test]
fn what_is_not_granted_is_refused_at_once_and_never_sent() {
    let web = Web::answering(HELLO);
    let port = web.address.port();
    let (server, tester) = server("", &format!("http = [{:?}]", web.url("/v1")));
    let mut connection = server.connect(&tester);
    for url in [
        web.url("/"),
        web.url("/v10"),
        web.url("/v2?/v1"),
        web.url("/v1/../v2"),
        web.url("/v1/%2e%2e/v2"),
        web.url("/v1/..%2fv2"),
        web.url("/v1/..;/v2"),
        web.url("/v1/%252e%252e/v2"),
        format!("https://127.0.0.1:{port}/v1"),
        format!("ftp://127.0.0.1:{port}/v1"),
        format!("http://localhost:{port}/v1"),
        format!("http://127.1:{port}/v1"),
        format!("http://[::ffff:127.0.0.1]:{port}/v1"),
        format!("http://127.0.0.1:{port}@localhost:{port}/v1"),
        format!("http://user:word@127.0.0.1:{port}/v1"),
        "http://127.0.0.1/v1".to_owned(),
        "http://127.0.0.1:1/v1".to_owned(),
    ] {
        let words = refusal(&mut connection, &format!("fetch GET \"{url}\""));
        let protocol = url.starts_with("ftp") && words == "at once: ErrorCode::HttpProtocolError";
        assert!(words == "at once: ErrorCode::HttpRequestDenied" || protocol, "{url}: {words}");
    }
    let tunnel = refusal(&mut connection, &format!("fetch CONNECT {}", web.url("/v1")));
    assert_eq!(tunnel, "at once: ErrorCode::HttpRequestDenied");
    for field in ["Host:elsewhere", "Connection:close", "Transfer-Encoding:chunked", "Upgrade:x"] {
        let words = refusal(&mut connection, &format!("fetch GET {} header={field}", web.url("/v1")));
        assert_eq!(words, "HeaderError::Forbidden");
    }
    assert!(web.seen().is_empty(), "{:?}", web.seen());
    assert!(connection.ask(&format!("fetch GET {}", web.url("/v1/x?y#z"))).starts_with("200\n"));
    assert_eq!(web.seen()[0].line, "GET /v1/x?y HTTP/1.1");
}

#[test]
fn a_refusal_is_in_the_log_without_what_may_be_secret() {
    let web = Web::answering(HELLO);
    let (server, tester) = granting(&web, "");
    let mut connection = server.connect(&tester);
    refusal(&mut connection, "fetch GET http://name:word@10.0.0.1:8080/path?token=secret");
    let entry = denial(&server);
    assert_eq!(entry.text("plugin"), Some("web"));
    assert_eq!(entry.text("url"), Some("http://10.0.0.1:8080/path"));
    assert_eq!(entry.text("reason"), Some("no URL in `http` holds it"));
    assert!(!server.printed().contains("secret") && !server.printed().contains("word"));
}

#[test]
fn a_plugin_sends_nothing_while_it_describes_itself() {
    let web = Web::answering(HELLO);
    let (server, tester) = server("", "http = [\"http://127.0.0.1:9\"]");
    let commands = server.connect(&tester).ask("@commands");
    assert!(commands.contains("at once: ErrorCode::HttpRequestDenied"), "{commands}");
    drop(web);
}

#[test]
fn a_redirection_is_the_plugins_to_follow_and_checked_anew() {
    let elsewhere = Web::answering(HELLO);
    let location = elsewhere.url("/");
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let web = Web::answering(answer);
    let (server, tester) = granting(&web, "");
    let mut connection = server.connect(&tester);
    assert!(connection.ask(&format!("fetch GET {}", web.url("/"))).starts_with("302\n"));
    let followed = connection.ask(&format!("follow {}", web.url("/")));
    assert_eq!(followed, "302 at once: ErrorCode::HttpRequestDenied");
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_name_leads_to_public_addresses_and_granted_networks_only() {
    let web = Web::answering(HELLO);
    let port = web.address.port();
    let named =
        |networks| format!("http = [{{ url = \"http://localhost:{port}\", networks = [{networks}] }}]");
    let fetch = format!("fetch GET http://localhost:{port}/");
    for networks in ["", "\"10.0.0.0/8\""] {
        let (server, tester) = server("", &named(networks));
        let words = refusal(&mut server.connect(&tester), &fetch);
        assert_eq!(words, "ErrorCode::DestinationIpProhibited");
        let entry = denial(&server);
        assert!(entry.text("reason").is_some_and(|reason| reason.contains("`networks`")), "{entry:?}");
    }
    assert!(web.seen().is_empty());
    let (server, tester) = server("", &named("\"127.0.0.0/8\", \"::1\""));
    assert!(server.connect(&tester).ask(&fetch).starts_with("200\n"));
    assert!(web.seen()[0].fields.contains(&format!("host: localhost:{port}\n")));
}

#[test]
fn networks_are_granted_to_one_url_and_to_no_other() {
    let [internal, public] = [(); 2].map(|()| Web::answering(HELLO));
    let url = |web: &Web| format!("http://localhost:{}", web.address.port());
    let networks = "networks = [\"127.0.0.0/8\", \"::1\"]";
    let grants = format!("http = [{{ url = {:?}, {networks} }}, {:?}]", url(&internal), url(&public));
    let (server, tester) = server("", &grants);
    let mut connection = server.connect(&tester);
    assert!(connection.ask(&format!("fetch GET {}/", url(&internal))).starts_with("200\n"));
    let words = refusal(&mut connection, &format!("fetch GET {}/", url(&public)));
    assert_eq!(words, "ErrorCode::DestinationIpProhibited");
    assert!(public.seen().is_empty());
}

#[test]
fn a_name_or_a_server_that_is_not_there_is_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (server, tester) = server("", &format!("http = [\"http://{closed}\", \"http://nowhere.invalid\"]"));
    let mut connection = server.connect(&tester);
    let words = refusal(&mut connection, &format!("fetch GET http://{closed}/"));
    assert_eq!(words, "ErrorCode::ConnectionRefused");
    let words = refusal(&mut connection, "fetch GET http://nowhere.invalid/");
    assert!(words.starts_with("ErrorCode::Dns"), "{words}");
}

/// Starts a server whose plugin may send requests to `https://HOST:PORT` and trusts `trusted`.
fn trusting(trusted: &Identity, origin: &str) -> (Server, Identity) {
    let networks = "networks = [\"127.0.0.0/8\", \"::1\"]";
    let (setup, tester) = setup("", &format!("http = [{{ url = {origin:?}, {networks} }}]"));
    let (certificate, _) = trusted.write(setup.folder(), "trusted");
    let server = setup.start_by(|mut lictor| {
        lictor.env("SSL_CERT_FILE", certificate);
        lictor
    });
    (server, tester)
}

#[test]
fn a_trusted_certificate_of_this_name_is_asked_for() {
    let identity = Identity::of_server();
    let web = Web::secure(&identity, HELLO);
    for host in ["localhost", "127.0.0.1"] {
        let origin = format!("https://{host}:{}", web.address.port());
        let (server, tester) = trusting(&identity, &origin);
        let answer = server.connect(&tester).ask(&format!("fetch POST {origin}/x body=secret"));
        assert!(answer.ends_with("\nhello"), "{answer}");
    }
    assert_eq!(web.seen().len(), 2);
}

#[test]
fn another_certificate_gets_no_request() {
    let other = Identity::new("other");
    // An untrusted certificate with the right name, and a trusted one with another name.
    for (identity, is_trusted) in [(Identity::of_server(), false), (Identity::new("elsewhere"), true)] {
        let web = Web::secure(&identity, HELLO);
        let origin = format!("https://localhost:{}", web.address.port());
        let (server, tester) = trusting(if is_trusted { &identity } else { &other }, &origin);
        let words = refusal(&mut server.connect(&tester), &format!("fetch GET {origin}/"));
        assert_eq!(words, "ErrorCode::TlsCertificateError");
        assert!(web.seen().is_empty());
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_with() {
    let identity = Identity::of_server();
    let web = Web::answering(HELLO);
    let origin = format!("https://localhost:{}", web.address.port());
    let (server, tester) = trusting(&identity, &origin);
    let words = refusal(&mut server.connect(&tester), &format!("fetch GET {origin}/"));
    assert!(words.starts_with("ErrorCode::Tls") || words == "ErrorCode::ConnectionTerminated", "{words}");
}

#[test]
fn a_call_that_times_out_closes_its_connection() {
    let silent = Web::new(|_, connection| connection.wait_for_close());
    let (server, tester) = granting(&silent, "timeout = \"500ms\"");
    let frame = server.connect(&tester).ask_framed(&format!("fetch GET {}", silent.url("/")));
    assert_eq!(frame.failure(), ("timeout", "unknown"));
    silent.wait_for_close();
    // The same in the middle of a body.
    let stuck = Web::new(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
        connection.wait_for_close();
    });
    let (server, tester) = granting(&stuck, "timeout = \"500ms\"");
    let frame = server.connect(&tester).ask_framed(&format!("fetch GET {}", stuck.url("/")));
    assert_eq!(frame.failure(), ("timeout", "unknown"));
    stuck.wait_for_close();
}

#[test]
fn no_request_outlives_its_call_in_a_warm_instance() {
    let stuck = Web::new(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
        connection.wait_for_close();
    });
    let (server, tester) = granting(&stuck, "instances = \"per-client\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask(&format!("keep {}", stuck.url("/"))), "");
    stuck.wait_for_close();
    refusal(&mut connection, "kept");
}

#[test]
fn the_plugins_own_time_limits_hold() {
    let silent = Web::new(|request, connection| {
        if request.line.contains("/body") {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
        }
        connection.wait_for_close();
    });
    let (server, tester) = granting(&silent, "");
    let mut connection = server.connect(&tester);
    let words = refusal(&mut connection, &format!("fetch GET {} first-byte-ms=50", silent.url("/")));
    assert_eq!(words, "ErrorCode::ConnectionReadTimeout");
    silent.wait_for_close();
    let words = refusal(&mut connection, &format!("fetch GET {} between-bytes-ms=50", silent.url("/body")));
    assert!(words.contains("connection read timeout"), "{words}");
    silent.wait_for_close();
}

#[test]
fn a_body_that_breaks_off_is_no_whole_one() {
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
    let (server, tester) = granting(&web, "");
    let words = refusal(&mut server.connect(&tester), &format!("fetch GET {}", web.url("/")));
    assert!(words.contains("incomplete HTTP response"), "{words}");
    let web = Web::answering("what is this?\r\n\r\n");
    let (server, tester) = granting(&web, "");
    let words = refusal(&mut server.connect(&tester), &format!("fetch GET {}", web.url("/")));
    assert_eq!(words, "ErrorCode::HttpProtocolError");
}

#[test]
fn bodies_count_as_what_the_call_moves() {
    let endless = Web::new(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\n\r\n");
        connection.send_without_end(&"x".repeat(10_000));
    });
    let (server, tester) = granting(&endless, "host_bytes = \"1MiB\"");
    let mut connection = server.connect(&tester);
    for command in ["body-size GET", "ignore-body-error", "flood"] {
        let frame = connection.ask_framed(&format!("{command} {}", endless.url("/")));
        assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{command}: {frame:?}");
        assert!(frame.message.contains("1048576 bytes"), "{command}: {frame:?}");
        endless.wait_for_close();
    }
    let (server, tester) = granting(&endless, "host_calls = 15");
    let frame = server.connect(&tester).ask_framed(&format!("at-once 4 {}", endless.url("/")));
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{frame:?}");
    assert!(frame.message.contains("15 operations"), "{frame:?}");
}

#[test]
fn a_header_without_an_end_is_cut_off() {
    for line in ["X-Field: some value that is not so short\r\n", "and so on without a line's end"] {
        let endless = Web::new(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nX-Field: ");
            connection.send_without_end(&line.repeat(100));
        });
        let (server, tester) = granting(&endless, "");
        let words = refusal(&mut server.connect(&tester), &format!("fetch GET {}", endless.url("/")));
        assert_eq!(words, "ErrorCode::HttpResponseHeaderSectionSize(None)");
        endless.wait_for_close();
    }
}

#[test]
fn bodies_that_are_never_sent_are_few() {
    let web = Web::answering(HELLO);
    let (server, tester) = granting(&web, "");
    let frame = server.connect(&tester).ask_framed("hoard-bodies 100000");
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{frame:?}");
}

#[test]
fn without_the_grant_the_plugin_does_not_load() {
    let (setup, _) = setup("", "logging = true");
    let config = setup.write();
    let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(checked.code, Some(2), "{checked:?}");
    for words in [
        "plugin web",
        "wasi:http/outgoing-handler@0.2",
        "wasi:http/types@0.2",
        "not granted",
        "add to [plugins.web.grants]:\n    | http = [\"https://HOST\"]",
    ] {
        assert!(checked.stderr.contains(words), "no {words:?} in {}", checked.stderr);
    }
}
