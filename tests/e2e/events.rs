//! Topics: publishing and receiving events, grants, and slow subscribers.

use std::path::Path;
use std::time::Duration;

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};
use testkit::{eventually, let_pass};

/// Starts a server with the plugins `topics`, with these grants, and `announcing`.
fn server(grants: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new()
        .master("tester", &tester)
        .plugin("topics", components::topics(), &["publish", "subscribe"], "timeout = \"300ms\"")
        .section(&format!("[plugins.topics.grants]\nevents = {grants}"))
        .plugin("announcing", components::announcing(), &["announce", "listen", "next"], "")
        .section("[plugins.announcing.grants]\nevents = [\"jobs/*\"]")
        .start();
    (server, tester)
}

/// Subscribes, and waits until the subscription is active.
fn subscribe(connection: &mut Connection, other: &mut Connection, topics: &str, reached: &str) {
    connection.send(format!("subscribe {topics}\r\nSequence: {topics}\r\n\r\n"));
    let topic = topics.replace('*', "begin");
    eventually("a subscription", || (published(other, &topic, "begin") == reached).then_some(()));
    loop {
        let part = connection.read_frame();
        assert_eq!((part.status.as_str(), part.field("Sequence")), ("PART", Some(topics)), "{part:?}");
        if part.body.ends_with(b"begin\n") {
            return;
        }
    }
}

/// Returns the reply of `publish`: the number of subscribers reached.
fn published(connection: &mut Connection, topic: &str, text: &str) -> String {
    connection.send(format!("publish {topic} {text}\r\nSequence: p\r\n\r\n"));
    let (mut whole, mut frame) = (Vec::new(), connection.read_frame());
    while frame.status == "PART" {
        whole.extend(frame.body);
        frame = connection.read_frame();
    }
    whole.extend(frame.text().bytes());
    String::from_utf8(whole).unwrap()
}

#[test]
fn what_is_published_comes_to_all_that_subscribed() {
    let (server, tester) = server("[\"jobs/*\", \"news\"]");
    let [mut one, mut all, mut other] = [(); 3].map(|()| server.connect(&tester));
    subscribe(&mut one, &mut other, "jobs/done", "1");
    subscribe(&mut all, &mut other, "jobs/*", "1");
    // No event comes for longer than the plugin's timeout.
    let_pass(Duration::from_millis(700));
    assert_eq!(published(&mut other, "jobs/done", "first of all"), "2");
    assert_eq!(published(&mut other, "jobs/more", "second"), "1");
    assert_eq!(published(&mut other, "news", "nobody"), "0");
    assert_eq!(one.read_frame().body, b"jobs/done first of all\n");
    let mut lines = Vec::new();
    while lines.len() < "jobs/done first of all\njobs/more second\n".len() {
        lines.extend(all.read_frame().body);
    }
    assert_eq!(String::from_utf8_lossy(&lines), "jobs/done first of all\njobs/more second\n");

    // A plugin that does not stream publishes as well.
    other.send("announce jobs/done\r\nSequence: a\r\nSize: 4\r\n\r\nbody");
    assert_eq!(other.read_frame().text(), "2");
    assert_eq!(one.read_frame().body, b"jobs/done body\n");

    // A client that cancels receives nothing more.
    one.send("@cancel jobs/done\r\n\r\n");
    eventually("the end of a subscription", || {
        (published(&mut other, "jobs/done", "x") == "1").then_some(())
    });
}

#[test]
fn only_what_is_granted_is_reached_and_only_streams_subscribe() {
    let (server, tester) = server("[\"publish jobs/*\", \"subscribe news*\"]");
    let mut connection = server.connect(&tester);
    for (line, code) in [
        ("publish news x", "denied"),
        ("publish job x", "denied"),
        ("publish jobs/* x", "bad-arguments"),
        ("publish \"\" x", "bad-arguments"),
        ("subscribe jobs/done", "denied"),
        ("subscribe *", "denied"),
        ("subscribe new*", "denied"),
        ("subscribe \"a b\"", "bad-arguments"),
        ("announce news", "denied"),
        ("listen jobs/done", "unavailable"),
        ("next", "plugin-failed"),
    ] {
        assert_eq!(connection.ask_framed(line).failure(), (code, "failed"), "{line}");
    }
    assert_eq!(published(&mut connection, "jobs/done", "x"), "0");
}

#[test]
fn who_does_not_read_is_told_how_much_was_lost() {
    const EVENTS: usize = 6000;
    let (server, tester) = server("[\"flood\"]");
    let [mut slow, mut other] = [(); 2].map(|()| server.connect(&tester));
    subscribe(&mut slow, &mut other, "flood", "1");
    let text = "x".repeat(4000);
    for number in 0..EVENTS {
        assert_eq!(published(&mut other, "flood", &format!("{number} {text}")), "1");
    }
    published(&mut other, "flood", "end");
    let (mut lines, mut begun) = (Vec::new(), String::new());
    while lines.last().is_none_or(|line| line != "flood end") {
        begun.push_str(&String::from_utf8(slow.read_frame().body).unwrap());
        let (whole, rest) = begun.rsplit_once('\n').unwrap_or(("", &begun));
        lines.extend(whole.lines().map(str::to_owned));
        begun = rest.to_owned();
    }
    let lost =
        lines.iter().filter_map(|line| line.strip_prefix('(')?.strip_suffix(" lost)")?.parse::<usize>().ok());
    let lost: usize = lost.sum();
    let came = lines.iter().filter(|line| line.starts_with("flood ") && line.ends_with('x')).count();
    assert!(lost > 0, "nothing was lost of {EVENTS}, so this shows nothing");
    assert_eq!(came + lost, EVENTS);
}

#[test]
fn a_plugin_without_the_grant_does_not_load() {
    let refused = |component: &Path, grants: &str| {
        let setup = Setup::new().plugin("mine", component, &["publish"], "").section(grants);
        let config = setup.write();
        finish(lictor(setup.folder()).arg("check").arg("--config").arg(config))
    };
    for component in [components::topics(), components::announcing()] {
        let checked = refused(component, "");
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stderr.contains("[plugins.mine.grants]\n    | events = [\"TOPIC\"]"), "{checked:?}");
        let checked = refused(component, "[plugins.mine.grants]\nevents = []");
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
    let checked = refused(components::topics(), "[plugins.mine.grants]\nevents = [\"tell me\"]");
    assert!(checked.stderr.contains("this is not a topic"), "{checked:?}");
}
