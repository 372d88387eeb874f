//! `@watch`: a stream of requests as they end, for clients that were given it by name.

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::eventually;
use testkit::server::{Server, Setup};

const OPERATOR: [&str; 3] = ["*", "@*", "@watch"];

fn start(setup: impl FnOnce(Setup) -> Setup) -> (Server, Identity, Connection) {
    let [operator, ci] = ["operator", "ci"].map(Identity::new);
    let base = Setup::new().client("operator", &operator, &OPERATOR).client("ci", &ci, &["*"]).echo();
    let server = setup(base).start();
    let ci = server.connect(&ci);
    (server, operator, ci)
}

/// Begins a stream, and waits until it has begun.
fn watch(server: &Server, connection: &mut Connection, conditions: &str, headers: &str) {
    let begun = server.happened("watches requests");
    connection.send(format!("@watch{conditions}\r\nSequence: w\r\n{headers}\r\n"));
    eventually("the stream", || (server.happened("watches requests") > begun).then_some(()));
}

/// Reads parts until there are this many lines.
fn lines(connection: &mut Connection, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.lines().count() < count || !(text.is_empty() || text.ends_with('\n')) {
        let frame = connection.read_frame();
        assert_eq!((&*frame.status, frame.field("Sequence")), ("PART", Some("w")), "{frame:?}");
        text += std::str::from_utf8(&frame.body).unwrap();
    }
    text.lines().map(str::to_owned).collect()
}

/// Reads up to the end of the stream.
fn end(connection: &mut Connection) -> Frame {
    loop {
        let frame = connection.read_frame();
        if frame.status != "PART" && frame.field("Sequence") == Some("w") {
            return frame;
        }
    }
}

#[test]
fn requests_are_told_as_they_end_in_text_and_in_json() {
    let (server, operator, mut ci) = start(|setup| setup.hostile("timeout = \"200ms\""));
    let [mut text, mut json] = [server.connect(&operator), server.connect(&operator)];
    watch(&server, &mut text, " client=ci", "");
    watch(&server, &mut json, " client=ci", "Format: json\r\n");
    assert_eq!(ci.ask("echo hello"), "hello");
    assert_eq!(ci.ask_framed("spin").failure(), ("timeout", "unknown"));
    assert_eq!(ci.ask_framed("no-such \u{202e}x").failure().0, "unknown-command");
    let told = lines(&mut text, 3);
    for (line, words) in told.iter().zip(["  ci  ok  ", "  ci  timeout  ", "  ci  unknown-command  "]) {
        assert!(line.contains(words), "{line}");
    }
    assert!(told[0].ends_with("  plugin echo  echo") && told[0].contains("  out 5 B"), "{}", told[0]);
    let told: Vec<Value> =
        lines(&mut json, 3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (echo, spin) = (&told[0], &told[1]);
    for (key, value) in [("client", "ci"), ("command", "echo"), ("plugin", "echo"), ("outcome", "ok")] {
        assert_eq!(echo[key], value, "{echo}");
    }
    assert_eq!((&echo["reply_bytes"], &echo["arguments"]), (&5.into(), &Value::Null));
    assert_eq!((&spin["code"], &spin["outcome"]), (&"timeout".into(), &"unknown".into()));
    assert!(spin["micros"].as_u64() >= Some(200_000), "{spin}");
    let id = spin["request"].as_str().unwrap().to_owned();
    server.wait_for_log("its line", |entry| entry.text("request") == Some(&id));
    text.send("@cancel w\r\nSequence: c\r\n\r\n");
    assert_eq!(end(&mut text).failure(), ("cancelled", "unknown"));
}

#[test]
fn conditions_choose_connections_and_requests() {
    let (server, operator, mut ci) = start(|setup| setup.hostile(""));
    let mut watching = server.connect(&operator);
    let told = |watching: &mut Connection, ci: &mut Connection, conditions: &str, count: usize| {
        watch(&server, watching, &format!(" {conditions}"), "");
        ci.ask("echo a");
        ci.ask_framed("sleep 60");
        ci.ask_framed("no-such");
        ci.ask("echo \"the end\"");
        let told = lines(watching, count);
        watching.send("@cancel w\r\nSequence: c\r\n\r\n");
        let mut more = 0;
        loop {
            let frame = watching.read_frame();
            match (&*frame.status, frame.field("Sequence")) {
                ("PART", _) => more += 1,
                (_, Some("w")) => break,
                _ => {}
            }
        }
        assert_eq!(more, 0, "{conditions}: {told:?}");
        told.iter().map(|line| line.rsplit("  ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["echo", "sleep", "no-such", "echo"];
    for (conditions, commands) in [
        ("client=c*", &all[..]),
        ("client=nobody", &[]),
        ("address=127.0.0.0/8 client=ci", &all),
        ("address=10.0.0.0/8", &[]),
        ("id=c999", &[]),
        ("client=ci command=*l*", &["sleep"]),
        ("plugin=echo", &["echo", "echo"]),
        ("client=ci code=ok", &["echo", "sleep", "echo"]),
        ("code=unknown-*", &["no-such"]),
        ("client=ci took>50ms took<10m", &["sleep"]),
        ("age>1h", &[]),
    ] {
        assert_eq!(told(&mut watching, &mut ci, conditions, commands.len()), commands, "{conditions}");
    }
    for (conditions, words) in [
        ("ci", "`ci` is no condition: client=NAME"),
        ("name=ci", "took<TIME"),
        ("command>x", "needs =: write command=x"),
        ("took=1s", "needs > or <: write took>1s"),
        ("took>5", "write \"5s\""),
        ("client>x", "write client=x"),
    ] {
        let frame = watching.ask_framed(&format!("@watch {conditions}"));
        assert_eq!(frame.failure(), ("bad-arguments", "failed"), "{conditions}");
        assert!(frame.message.contains(words), "{conditions}: {}", frame.message);
    }
    assert!(watching.ask("@watch").starts_with("ERR Reply needs a Sequence header"));
}

#[test]
fn no_wildcard_grants_it() {
    let [operator, named] = ["operator", "named"].map(Identity::new);
    let setup = Setup::new().client("operator", &operator, &["*", "@*", "@w*"]);
    let server = setup.client("named", &named, &["@watch code=*", "@commands"]).start();
    let mut operator = server.connect(&operator);
    assert_eq!(operator.ask_framed("@watch").failure(), ("forbidden", "not-run"));
    assert!(!operator.ask("@commands").contains("@watch"));
    let mut named = server.connect(&named);
    assert!(named.ask("@commands").contains("@watch code=*"));
    assert_eq!(named.ask_framed("@watch").failure(), ("forbidden", "not-run"));
    watch(&server, &mut named, " code=ok", "");
    // The permission is taken away while it runs.
    server.edit(|text| text.replace("\"@watch code=*\", ", ""));
    operator.ask("@reload");
    assert_eq!(end(&mut named).failure().0, "cancelled");
    let told = server.wait_for_log("who watches", |entry| entry.message() == "watches requests");
    assert_eq!(told.text("client"), Some("named"));
}

#[test]
fn arguments_are_told_only_where_they_are_logged_and_escaped() {
    let (server, operator, mut ci) = start(|setup| setup.section("[log]\narguments = true"));
    let mut watching = server.connect(&operator);
    watch(&server, &mut watching, " client=ci", "");
    ci.ask_framed(&format!("echo \"\u{202e}\\x1b[2J\\r\\n{}\"", "x".repeat(7000)));
    let line = lines(&mut watching, 1).remove(0);
    assert!(line.contains("  echo \\u{202e}\\x1b[2J\\r\\nxxx") && line.len() < 1000, "{line}");
    server.edit(|text| text.replace("arguments = true", "arguments = false"));
    server.connect(&operator).ask("@reload");
    ci.ask("echo my-secret");
    let line = lines(&mut watching, 1).remove(0);
    assert!(line.ends_with("  echo"), "{line}");
}

/// Fifty watchers, one of which reads nothing, and more requests than they are told of.
#[test]
fn watchers_delay_nobody_and_are_told_how_many_are_left_out() {
    let (server, operator, mut ci) = start(|setup| setup.section("[log]\narguments = true"));
    let mut watchers: Vec<_> = (0..50).map(|_| server.connect(&operator)).collect();
    watchers.iter_mut().for_each(|watcher| watch(&server, watcher, " client=ci", "Format: json\r\n"));
    let before = server.settled_kib();
    let line = format!("echo {}", "x".repeat(250));
    let mut sent = 0_u64;
    while sent < 20_000 {
        let frames = ci.ask_all(&[(line.as_str(), ""); 100]);
        assert!(frames.iter().all(|frame| frame.status == "OK"), "{frames:?}");
        sent += 100;
    }
    assert!(server.resident_kib() < before + (40 << 10), "{before} KiB, then {}", server.resident_kib());
    let mut told = 0;
    while told < sent {
        for line in lines(&mut watchers[0], 1) {
            let line: Value = serde_json::from_str(&line).unwrap();
            told += line["left_out"].as_u64().unwrap_or(1);
        }
    }
    assert_eq!(told, sent, "each was told or counted");
    let mut more: Vec<_> = (0..14).map(|_| server.connect(&operator)).collect();
    more.iter_mut().for_each(|watcher| watch(&server, watcher, " client=nobody", ""));
    let mut last = server.connect(&operator);
    assert_eq!(last.ask_framed("@watch").failure(), ("busy", "not-run"));
    // A watcher that leaves makes room for another.
    drop(more.pop());
    eventually("room", || {
        last.send("@watch client=nobody\r\nSequence: w\r\nTimeout-Ms: 10\r\n\r\n");
        (end(&mut last).failure().0 == "timeout").then_some(())
    });
    assert_eq!(ci.ask("echo still"), "still");
}

#[test]
fn a_stream_ends_with_the_server() {
    let (mut server, operator, _ci) = start(|setup| setup);
    let mut watching = server.connect(&operator);
    watch(&server, &mut watching, "", "");
    server.connect(&operator).ask("@drain");
    assert_eq!(end(&mut watching).failure().0, "shutting-down");
    watching.assert_closed();
    assert_eq!(server.wait(), Some(0));
}
