//! HTTP requests in one piece, by `lictor:plugin/http`: with the grant and the checks of `wasi:http`.

use testkit::client::Connection;
use testkit::web::Web;

use crate::http::{HELLO, denial, granting, server};

/// Returns the code and the words of the plugin's refusal, which it passes on.
#[track_caller]
fn refused(connection: &mut Connection, command: &str) -> (String, String) {
    let frame = connection.ask_framed(command);
    (frame.failure().0.to_owned(), frame.message)
}

#[track_caller]
fn is_refused(connection: &mut Connection, command: &str, code: &str, words: &str) {
    let (told, message) = refused(connection, command);
    assert!(told == code && message.contains(words), "{command}: {message} ({told})");
}

#[test]
fn a_request_is_sent_whole_and_its_response_comes_whole() {
    let answer = "HTTP/1.1 201 Created\r\nX-Kind: grüße\r\nX-kind: 2\r\nContent-Length: 5\r\n\r\nhello";
    let web = Web::answering(answer);
    let (server, tester) = granting(&web, "");
    let mut connection = server.connect(&tester);
    let shown = "201\nx-kind: grüße\nx-kind: 2\ncontent-length: 5\n\nhello";
    assert_eq!(connection.ask(&format!("whole GET {}", web.url("/a?b=c#d"))), shown);
    assert_eq!(connection.ask(&format!("whole PURGE {} body=some header=X-Id:7", web.url(""))), shown);
    let seen = web.seen();
    assert_eq!([&seen[0].line, &seen[1].line], ["GET /a?b=c HTTP/1.1", "PURGE / HTTP/1.1"]);
    assert!(seen.iter().all(|seen| seen.fields.contains(&format!("host: {}\n", web.address))), "{seen:?}");
    assert_eq!((seen[0].body.as_str(), seen[1].body.as_str()), ("", "some"));
    assert!(seen[1].fields.contains("content-length: 4\n"), "{seen:?}");
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Late: 1\r\n\r\n";
    let web = Web::answering(chunked);
    let (server, tester) = granting(&web, "");
    let reply = server.connect(&tester).ask(&format!("whole GET {}", web.url("/")));
    assert!(reply.ends_with("\n\nhello"), "{reply}");
    let until_the_end = Web::answering("HTTP/1.1 200 OK\r\n\r\nhello");
    let (server, tester) = granting(&until_the_end, "");
    assert_eq!(server.connect(&tester).ask(&format!("whole GET {}", until_the_end.url("/"))), "200\n\nhello");
}

#[test]
fn what_is_not_granted_is_denied_and_never_sent() {
    let web = Web::answering(HELLO);
    let port = web.address.port();
    let (server, tester) = server("", &format!("http = [{:?}]", web.url("/v1")));
    let mut connection = server.connect(&tester);
    for url in [
        web.url("/"),
        web.url("/v10"),
        web.url("/v1/../v2"),
        web.url("/v1/%2e%2e/v2"),
        format!("https://127.0.0.1:{port}/v1"),
        format!("http://localhost:{port}/v1"),
        "http://127.0.0.1:1/v1".to_owned(),
    ] {
        let command = format!("whole GET \"{url}\"");
        is_refused(&mut connection, &command, "denied", "this URL is not granted to the plugin");
    }
    is_refused(&mut connection, &format!("whole CONNECT {}", web.url("/v1")), "denied", "not granted");
    for (url, words) in [
        (format!("http://user:word@127.0.0.1:{port}/v1"), "has a user's name in it"),
        (format!("ftp://127.0.0.1:{port}/v1"), "does not begin with https:// or http://"),
        ("/v1".to_owned(), "does not begin with https:// or http://"),
    ] {
        is_refused(&mut connection, &format!("whole GET {url}"), "bad-arguments", words);
    }
    for field in ["Host:elsewhere", "Connection:close", "Transfer-Encoding:chunked"] {
        let command = format!("whole GET {} header={field}", web.url("/v1"));
        is_refused(&mut connection, &command, "bad-arguments", "is the host's to send");
    }
    assert!(web.seen().is_empty(), "{:?}", web.seen());
    // A refusal does not affect the next request, on either interface.
    assert!(connection.ask(&format!("whole GET {}", web.url("/v1/x"))).starts_with("200\n"));
    is_refused(&mut connection, "whole GET http://10.0.0.1/path?token=secret", "denied", "not granted");
    assert!(connection.ask(&format!("fetch GET {}", web.url("/v1/x"))).starts_with("200\n"));
    let entry = denial(&server);
    assert_eq!(
        (entry.text("plugin"), entry.text("reason")),
        (Some("web"), Some("no URL in `http` holds it"))
    );
    assert!(!server.printed().contains("secret"));
}

#[test]
fn a_name_leads_to_public_addresses_and_granted_networks_only() {
    let web = Web::answering(HELLO);
    let port = web.address.port();
    let named =
        |networks| format!("http = [{{ url = \"http://localhost:{port}\", networks = [{networks}] }}]");
    let (first, tester) = server("", &named(""));
    let command = format!("whole GET http://localhost:{port}/");
    is_refused(&mut first.connect(&tester), &command, "denied", "leads to an address that is not granted");
    assert!(web.seen().is_empty());
    let (second, tester) = server("", &named("\"127.0.0.0/8\", \"::1\""));
    assert!(second.connect(&tester).ask(&command).starts_with("200\n"));
}

#[test]
fn a_redirection_is_a_response() {
    let elsewhere = Web::answering(HELLO);
    let location = elsewhere.url("/");
    let web =
        Web::answering(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
    let (server, tester) = granting(&web, "");
    let reply = server.connect(&tester).ask(&format!("whole GET {}", web.url("/")));
    assert_eq!(reply, format!("302\nlocation: {location}\ncontent-length: 0\n\n"));
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn a_server_that_answers_late_or_wrongly_is_told() {
    let silent = Web::new(|request, connection| {
        if request.line.contains("/body") {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ");
        }
        connection.wait_for_close();
    });
    let (first, tester) = granting(&silent, "");
    for path in ["/", "/body"] {
        let command = format!("whole GET {} timeout-ms=100", silent.url(path));
        is_refused(&mut first.connect(&tester), &command, "unavailable", "did not answer in time");
        silent.wait_for_close();
    }
    // However long the request may take, the plugin has time left to report that nothing came.
    let (second, tester) = granting(&silent, "timeout = \"3s\"");
    for more in ["", " timeout-ms=60000"] {
        let command = format!("whole GET {}{more}", silent.url("/body"));
        is_refused(&mut second.connect(&tester), &command, "unavailable", "did not answer in time");
        silent.wait_for_close();
    }
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ", "answer is incomplete"),
        ("what is this?\r\n\r\n", "does not speak HTTP"),
    ] {
        let web = Web::answering(answer);
        let (third, tester) = granting(&web, "");
        is_refused(&mut third.connect(&tester), &format!("whole GET {}", web.url("/")), "unavailable", words);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (fourth, tester) = server("", &format!("http = [\"http://{closed}\", \"http://nowhere.invalid\"]"));
    let mut connection = fourth.connect(&tester);
    is_refused(
        &mut connection,
        &format!("whole GET http://{closed}/"),
        "unavailable",
        "refuses the connection",
    );
    let (code, _) = refused(&mut connection, "whole GET http://nowhere.invalid/");
    assert_eq!(code, "unavailable");
}

#[test]
fn a_response_larger_than_fits_is_told_in_its_own_words() {
    const TOO_LARGE: &str = "the server's answer has more than 8 MiB";
    let endless = Web::new(|request, connection| {
        connection.send(if request.line.contains("/length") {
            "HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\n\r\n"
        });
        connection.send_without_end(&"x".repeat(10_000));
    });
    let (first, tester) = granting(&endless, "");
    for path in ["/length", "/"] {
        let command = format!("whole GET {}", endless.url(path));
        is_refused(&mut first.connect(&tester), &command, "plugin-failed", TOO_LARGE);
        endless.wait_for_close();
    }
    let impossible = Web::new(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n");
    });
    let (server, tester) = granting(&impossible, "");
    let command = format!("whole GET {}", impossible.url("/?secret"));
    is_refused(&mut server.connect(&tester), &command, "plugin-failed", "impossible Content-Length");
    let logged = server.wait_for_log("the URL", |entry| entry.message() == "a host function failed");
    let error = logged.text("error").unwrap();
    assert!(error.starts_with(&format!("{}: the header", impossible.url("/"))), "{logged:?}");
    let whole = Web::new(|_, connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
        connection.send(&"x".repeat(2 << 20));
    });
    let (second, tester) = granting(&whole, "memory = \"4MiB\"\nreply = \"4MiB\"");
    let command = format!("whole GET {}", whole.url("/"));
    is_refused(
        &mut second.connect(&tester),
        &command,
        "plugin-failed",
        "larger than the plugin's memory allows",
    );
    let (third, tester) = granting(&whole, "reply = \"4MiB\"");
    assert_eq!(
        third.connect(&tester).ask_framed(&command).body.len(),
        "200\ncontent-length: 2097152\n\n".len() + (2 << 20)
    );
    // The bound on a call's total bytes is a different one, set by the operator.
    let (fourth, tester) = granting(&endless, "host_bytes = \"1MiB\"");
    let frame = fourth.connect(&tester).ask_framed(&format!("whole GET {}", endless.url("/")));
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{frame:?}");
    assert!(frame.message.contains("1048576 bytes"), "{frame:?}");
}
