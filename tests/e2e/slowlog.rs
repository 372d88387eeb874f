//! `@slowlog`: the requests that took most, by each measure, bounded, and without what is not logged.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::eventually;
use testkit::server::{Server, Setup};

const MEASURES: [&str; 5] = ["wall", "queue", "cpu", "memory", "reply"];

fn start(setup: impl FnOnce(Setup) -> Setup) -> (Server, Connection, Connection) {
    let [operator, ci] = ["operator", "ci"].map(Identity::new);
    let setup = setup(Setup::new().master("operator", &operator).client("ci", &ci, &["*"]));
    let server = setup.start();
    let [operator, ci] = [&operator, &ci].map(|identity| server.connect(identity));
    (server, operator, ci)
}

/// Asks for the worst by `measure` as JSON.
fn worst(operator: &mut Connection, measure: &str) -> Vec<Value> {
    let frame = operator.ask_all(&[(&format!("@slowlog by {measure} 32"), "Format: json\r\n")]).remove(0);
    assert_eq!(frame.status, "OK", "{frame:?}");
    let listed: Value = serde_json::from_str(frame.text()).unwrap();
    assert!(listed["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{listed}");
    listed["worst"][measure].as_array().unwrap().clone()
}

#[test]
fn the_worst_by_each_measure_are_told_with_client_plugin_sizes_and_times() {
    let (server, mut operator, mut ci) =
        start(|setup| setup.echo().hostile("concurrency = 1\ntimeout = \"2s\"\ncpu_time = \"200ms\""));
    assert_eq!(ci.ask("echo hello"), "hello");
    let frames = ci.ask_all(&[("sleep 300", ""), ("args a", "")]);
    assert_eq!(frames.iter().map(|frame| &*frame.status).collect::<Vec<_>>(), ["OK", "OK"]);
    assert_eq!(ci.ask_framed("spin").failure(), ("plugin-limit", "unknown"));
    assert_eq!(ci.ask_framed("big 100000").body.len(), 100_000);
    ci.ask(&format!("echo {}", "x".repeat(5000)));
    let first = |operator: &mut Connection, measure| worst(operator, measure).remove(0);
    let by_wall = worst(&mut operator, "wall").into_iter().find(|ended| ended["command"] == "sleep").unwrap();
    for (key, value) in [("client", "ci"), ("plugin", "hostile"), ("outcome", "ok")] {
        assert_eq!(by_wall[key], value, "{by_wall}");
    }
    assert!(by_wall["micros"].as_u64() >= Some(300_000), "{by_wall}");
    assert!((1..100).contains(&by_wall["request_bytes"].as_u64().unwrap()), "{by_wall}");
    assert_eq!((&by_wall["arguments"], &by_wall["reply_bytes"]), (&Value::Null, &5.into()));
    let id = by_wall["request"].as_str().unwrap().to_owned();
    server.wait_for_log("the same request", |entry| entry.text("request") == Some(&id));
    let by_queue = first(&mut operator, "queue");
    assert_eq!(by_queue["command"], "args");
    assert!(by_queue["queue_micros"].as_u64() >= Some(100_000), "{by_queue}");
    let by_cpu = first(&mut operator, "cpu");
    assert_eq!((&by_cpu["command"], &by_cpu["code"]), (&"spin".into(), &"plugin-limit".into()));
    assert!(by_cpu["cpu_micros"].as_u64() >= Some(200_000), "{by_cpu}");
    let by_reply = first(&mut operator, "reply");
    assert_eq!((&by_reply["command"], &by_reply["reply_bytes"]), (&"big".into(), &100_000.into()));
    assert!(first(&mut operator, "memory")["memory_bytes"].as_u64() > Some(64 << 10));
    let text = operator.ask("@slowlog");
    let heads =
        text.lines().filter(|line| line.starts_with("by ")).map(|line| line.split(' ').nth(1).unwrap());
    assert_eq!(heads.collect::<Vec<_>>(), MEASURES);
    assert!(text.contains(" ci  ok  ") && text.contains("plugin hostile  sleep\n"), "{text}");
    // Its own replies are requests like others, and so are refusals.
    assert_eq!(operator.ask("@slowlog reset"), "reset");
    assert!(worst(&mut operator, "cpu").is_empty() && worst(&mut operator, "queue").is_empty());
    for (arguments, is_wrong) in [
        ("by wall 1", false),
        ("3", false),
        ("by", true),
        ("by time", true),
        ("by wall 0", true),
        ("by wall 33", true),
        ("1 by wall", true),
        ("reset 1", true),
        ("by wall 1 2", true),
        ("-1", true),
    ] {
        let frame = operator.ask_framed(&format!("@slowlog {arguments}"));
        assert_eq!(frame.status == "ERR", is_wrong, "{arguments}: {frame:?}");
        assert!(!is_wrong || frame.message.contains("Usage: @slowlog [by wall|queue|cpu|memory|reply] [N]"));
    }
    assert_eq!(ci.ask_framed("@slowlog").failure(), ("forbidden", "not-run"));
}

/// Floods of distinct names, huge arguments and control characters.
#[test]
fn whatever_comes_it_stays_small_and_shows_no_control_character() {
    let (_server, mut operator, mut ci) = start(|setup| setup.echo().section("[log]\narguments = true"));
    for number in 0..300 {
        let nosuch = ci.ask_framed(&format!("no-such-{number}\u{202e}{}", "n".repeat(number)));
        assert_eq!(nosuch.failure(), ("unknown-command", "not-run"));
    }
    let evil = format!("echo \"\\x1b[2J\\r\\n\\r\\n\u{202e}{}\"", "x".repeat(7000));
    (0..50).for_each(|_| assert_eq!(ci.ask_framed(&evil).status, "OK"));
    for measure in MEASURES {
        let worst = worst(&mut operator, measure);
        assert!(worst.len() <= 32, "{measure}: {}", worst.len());
        for ended in worst {
            let texts =
                [&ended["command"], &ended["arguments"]].map(|text| text.as_str().unwrap_or_default());
            let [command, arguments] = texts;
            assert!(command.chars().count() <= 80 && arguments.chars().count() <= 300, "{ended}");
            assert!(texts.iter().all(|text| !text.contains(['\u{1b}', '\u{202e}', '\r', '\n'])), "{ended}");
        }
    }
    let Frame { body, .. } = operator.ask_framed("@slowlog 32");
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("\\x1b[2J") && text.len() < 100_000, "{}: {text}", text.len());
    assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'));
}

#[test]
fn arguments_are_kept_only_where_they_are_logged_and_hidden_once_they_are_not() {
    let (server, mut operator, mut ci) = start(|setup| setup.echo().section("[log]\narguments = true"));
    assert_eq!(ci.ask("echo secret of mine"), "secret of mine");
    let shown = |operator: &mut Connection| {
        let echoed = worst(operator, "wall").into_iter().filter(|ended| ended["command"] == "echo");
        echoed.map(|ended| ended["arguments"].to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(shown(&mut operator), ["\"secret of mine\"".to_owned()].into());
    assert!(operator.ask("@slowlog").contains("echo secret of mine"));
    server.edit(|text| text.replace("arguments = true", "arguments = false"));
    operator.ask("@reload");
    eventually("the new config to be in force", || {
        (shown(&mut operator) == ["null".to_owned()].into()).then_some(())
    });
    assert!(!operator.ask("@slowlog").contains("secret"));
}
