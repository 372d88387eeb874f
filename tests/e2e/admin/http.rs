//! HTTP on the listeners without certificates: what is served, what is refused, and how a connection ends.

use std::io::{Read, Write};

use testkit::client::tcp;
use testkit::server::Setup;

use super::{Response, ask, exchange, page, responses, start, start_with};

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

#[test]
fn metrics_are_shown_as_the_built_in_shows_them() {
    let (server, operator, loopback, _) = start();
    let mut operator = server.connect(&operator);
    // Commands are shown once there has been one.
    assert_eq!(operator.ask("@ping"), "pong");
    let response = page(loopback, "/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    let names = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("# TYPE "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (metrics, status) = (operator.ask("@metrics"), operator.ask("@status metrics"));
    assert!(names(&response.body).len() > 40, "{}", response.body);
    assert_eq!(names(&response.body), names(&metrics));
    assert_eq!(names(&metrics), names(&status));
    assert!(response.body.contains("\nlictor_connections 1\n"), "{}", response.body);
    assert!(metrics.contains("\nlictor_connections 1\n"), "{metrics}");
    assert_eq!(operator.ask_framed("@metrics now").failure(), ("bad-arguments", "failed"));
}

#[test]
fn each_listener_has_its_pages_and_no_others() {
    let (_server, _, loopback, health) = start();
    for (path, at_loopback, at_health) in [
        ("/metrics", 200, 404),
        ("/livez", 200, 200),
        ("/readyz", 200, 200),
        ("/readyz?verbose", 200, 200),
        ("/", 404, 404),
        ("/metrics/", 404, 404),
        ("//metrics", 404, 404),
        ("/%6detrics", 404, 404),
        ("/../metrics", 404, 404),
        ("/healthz", 404, 404),
        ("/debug", 404, 404),
    ] {
        assert_eq!(page(loopback, path).status, at_loopback, "{path}");
        assert_eq!(page(health, path).status, at_health, "{path}");
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let (_server, _, loopback, _) = start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PRI", "get"] {
        let request = format!("{method} /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let response = ask(&mut tcp(loopback), &request);
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{method}");
        let request = format!("{method} /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(ask(&mut tcp(loopback), &request).status, 404, "{method}");
    }
    let connect = exchange(loopback, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(connect.iter().all(|response| response.status >= 400), "{connect:?}");
}

#[test]
fn head_has_the_head_of_get_and_no_body() {
    let (_server, _, loopback, _) = start();
    let mut connection = tcp(loopback);
    for path in ["/livez", "/readyz?verbose"] {
        let whole = ask(&mut connection, &get(path, ""));
        let head = ask(&mut connection, &get(path, "").replacen("GET", "HEAD", 1));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.field("content-length"), Some(whole.body.len().to_string().as_str()), "{head:?}");
        assert_eq!(head.field("content-type"), whole.field("content-type"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_server, _, loopback, _) = start();
    let requests =
        [get("/livez", ""), get("/nowhere", ""), get("/readyz", ""), get("/livez", "Connection: close\r\n")];
    let mut stream = tcp(loopback);
    stream.write_all(requests.concat().as_bytes()).unwrap();
    let statuses: Vec<_> = responses(&mut stream, "GET").iter().map(|response| response.status).collect();
    assert_eq!(statuses, [200, 404, 200, 200]);
    // Nothing behind the one that ends the connection is answered.
    let last = get("/livez", "Connection: close\r\n");
    assert_eq!(exchange(loopback, last.clone() + &last).len(), 1);
}

#[test]
fn http_1_0_is_answered_once() {
    let (_server, _, loopback, health) = start();
    for (address, request) in [
        (loopback, "GET /livez HTTP/1.0\r\n\r\n"),
        (loopback, "GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n"),
        (health, "GET /livez HTTP/1.0\r\n\r\n"),
    ] {
        let mut stream = tcp(address);
        stream.write_all(request.as_bytes()).unwrap();
        let answers = responses(&mut stream, "GET");
        assert_eq!((answers.len(), answers[0].status, answers[0].body.as_str()), (1, 200, "ok\n"));
    }
    let strange = "GET /livez HTTP/1.0\r\nHost: example.org\r\n\r\n";
    assert_eq!(exchange(loopback, strange)[0].status, 403);
}

/// DNS rebinding: a page's author has its name lead to 127.0.0.1, and so is of the same origin as this
/// server.
#[test]
fn on_loopback_host_is_this_machine_and_no_web_page_is_answered() {
    let (_server, _, loopback, health) = start();
    let status = |address, fields: &str| {
        let request = format!("GET /livez HTTP/1.1\r\n{fields}\r\n");
        let answers = exchange(address, request);
        assert_eq!(answers.len(), 1, "{fields:?}");
        answers[0].status
    };
    for (host, at_loopback) in [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("localhost.", 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:4889", 200),
        ("[::1]:4889", 200),
        ("[::1]", 200),
        ("example.org", 403),
        ("localhost.example.org", 403),
        ("127.0.0.1.example.org", 403),
        ("127.1", 403),
        ("2130706433", 403),
        ("0.0.0.0", 403),
        ("192.0.2.1:4889", 403),
        ("user@localhost", 403),
        ("localhost@example.org", 403),
        ("", 403),
        ("a b", 403),
    ] {
        assert_eq!(status(loopback, &format!("Host: {host}\r\n")), at_loopback, "{host:?}");
        assert_eq!(status(health, &format!("Host: {host}\r\n")), 200, "{host:?}");
    }
    for (fields, at_loopback, at_health) in [
        ("", 400, 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400, 400),
        ("Host: localhost\r\nHost: example.org\r\n", 400, 400),
        ("Host: localhost\r\nOrigin: http://localhost\r\n", 403, 200),
        ("Host: localhost\r\nOrigin: null\r\n", 403, 200),
        ("Host: localhost\r\nOrigin:\r\n", 403, 200),
    ] {
        assert_eq!(status(loopback, fields), at_loopback, "{fields:?}");
        assert_eq!(status(health, fields), at_health, "{fields:?}");
    }
    let absolute = |host: &str| format!("GET http://{host}/livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(exchange(loopback, absolute("localhost:1"))[0].status, 200);
    let refused = &exchange(loopback, absolute("example.org"))[0];
    assert_eq!(refused.status, 403);
    assert!(refused.body.starts_with("Host must be localhost"), "{refused:?}");
}

#[test]
fn a_body_is_refused_and_ends_the_connection() {
    let (_server, _, loopback, _) = start();
    for (fields, behind) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Content-Length: 99999999\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", ""),
    ] {
        let answers = exchange(loopback, get("/livez", fields) + behind + &get("/livez", ""));
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [413], "{fields:?}");
        assert_eq!(answers[0].field("connection"), Some("close"));
    }
    assert_eq!(exchange(loopback, get("/livez", "Content-Length: 0\r\n"))[0].status, 200);
}

#[test]
fn what_is_no_http_is_answered_once_at_most_and_closed() {
    let (server, operator, loopback, _) = start();
    let endless = "x".repeat(20_000);
    for (bytes, status) in [
        ("\r\n\r\n\r\n", None),
        ("GET\r\n\r\n", Some(400)),
        ("GET /livez\r\n\r\n", Some(400)),
        ("GET /livez HTTP/2.0\r\n\r\n", None),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nno field\r\n\r\n", Some(400)),
        ("GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", Some(400)),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nA: \0\r\n\r\n", Some(400)),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", Some(400)),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            Some(400),
        ),
        ("@ping\r\n\r\n", Some(400)),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}", None),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        ("", None),
    ] {
        let answers = exchange(loopback, bytes);
        assert!(answers.len() <= 1, "{bytes:?}: {answers:?}");
        if let Some(status) = status {
            assert_eq!(answers.first().map(|answer| answer.status), Some(status), "{bytes:?}");
        }
        assert!(answers.iter().all(|answer| answer.status >= 400), "{bytes:?}: {answers:?}");
    }
    for large in [
        format!("GET /{endless} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        get("/livez", &format!("A: {endless}\r\n")),
        get("/livez", &"A: b\r\n".repeat(1500)),
    ] {
        let mut stream = tcp(loopback);
        stream.write_all(large.as_bytes()).unwrap();
        let answers = responses(&mut stream, "GET");
        assert!(matches!(answers[..], [Response { status: 431 | 414, .. }]), "{answers:?}");
    }
    // The largest that fits.
    assert_eq!(ask(&mut tcp(loopback), &get("/livez", &format!("A: {}\r\n", "x".repeat(8000)))).status, 200);
    assert_eq!(server.connect(&operator).ask("echo on"), "on");
}

#[test]
fn an_idle_connection_and_a_trickle_are_ended_in_time() {
    let (_server, _, loopback, _) = start();
    let mut idle = tcp(loopback);
    let mut used = tcp(loopback);
    assert_eq!(ask(&mut used, &get("/livez", "")).status, 200);
    let mut trickle = tcp(loopback);
    trickle.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    for stream in [&mut idle, &mut used, &mut trickle] {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the server ends it");
        assert!(
            bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408"),
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn a_reload_leaves_connections_and_listeners_as_they_are() {
    let (server, operator, loopback, health) = start_with(Setup::new().echo());
    let mut connection = tcp(loopback);
    assert_eq!(ask(&mut connection, &get("/readyz", "")).status, 200);
    server.edit(|text| {
        text.replace("[admin]\n", "[admin]\nclient_labels = 3\ntls_listen = [\"127.0.0.1:0\"]\n")
    });
    let changed = server.connect(&operator).ask("@reload");
    assert_eq!(changed, "restart  changed  admin.tls_listen\nlive     changed  admin.client_labels");
    assert_eq!(ask(&mut connection, &get("/readyz", "")).status, 200);
    // A config that is refused leaves the old one in force, and the server ready.
    server.edit(|text| text + "[nonsense]\n");
    let mut operator = server.connect(&operator);
    assert_eq!(operator.ask_framed("@reload").failure().0, "conflict");
    let list = page(health, "/readyz?verbose");
    assert_eq!(list.status, 200);
    let words = "[+]config ok: the last reload failed, and the config before it is in force\n";
    assert!(list.body.contains(words), "{list:?}");
}
