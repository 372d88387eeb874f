//! Instances that stay entered (`lictor:plugin/worker`), and calls handed to one together.

use testkit::certs::Identity;
use testkit::client::Frame;
use testkit::components::{self, Minimal};
use testkit::eventually;
use testkit::server::{Server, Setup};

const SHARED: &str = "instances = \"shared\"";

fn with_hostile(keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).hostile(keys).start();
    (server, tester)
}

fn told(frame: &Frame) -> String {
    frame.field("Code").map_or_else(|| String::from_utf8_lossy(&frame.body).into_owned(), str::to_owned)
}

#[test]
fn each_call_of_a_batch_sees_its_own_request() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    let requests = [
        ("id", ""),
        ("header X", "X: one\r\n"),
        ("body", "|first"),
        ("id", ""),
        ("header X", "X: two\r\n"),
        ("header X", ""),
        ("body", "|second"),
        ("body", ""),
        ("id", ""),
        ("args \"a b\" c \"\"", ""),
    ];
    let told: Vec<String> = connection.ask_all(&requests).iter().map(told).collect();
    assert_eq!((told[1].as_str(), told[4].as_str()), ("Some(\"one\")", "Some(\"two\")"));
    assert_eq!((told[2].as_str(), told[6].as_str(), told[7].as_str()), ("first", "second", ""));
    assert_eq!(told[5], "None");
    let ids = [&told[0], &told[3], &told[8]];
    let numbers: Vec<u32> =
        ids.iter().map(|id| id.split_once('-').unwrap().1.parse().expect("an id ends in a number")).collect();
    assert_eq!(numbers, [1, 4, 9]);
    assert!(told[9].contains("a b"), "{told:?}");
}

#[test]
fn a_call_that_runs_on_is_overtaken_by_those_behind_it_and_holds_none_of_them() {
    let (server, tester) = with_hostile(&format!("{SHARED}\ntimeout = \"400ms\""));
    let mut connection = server.connect(&tester);
    for stuck in ["spin", "sleep 5000"] {
        let commands = ["leak", stuck, "leak", stuck, "leak"];
        connection.send(
            commands
                .iter()
                .enumerate()
                .map(|(place, command)| format!("{command}\r\nSequence: {place}\r\n\r\n"))
                .collect::<String>(),
        );
        let frames: Vec<Frame> = commands.iter().map(|_| connection.read_frame()).collect();
        let mut order: Vec<&str> = frames.iter().filter_map(|frame| frame.field("Sequence")).collect();
        // These three may overtake each other too.
        order[..3].sort_unstable();
        assert_eq!(order[..3], ["0", "2", "4"], "{stuck}");
        assert!(frames[3..].iter().all(|frame| told(frame) == "timeout"), "{stuck}: {frames:?}");
        assert!(frames[3..].iter().all(|frame| frame.field("Outcome") == Some("unknown")), "{stuck}");
    }
}

#[test]
fn plain_requests_are_answered_in_their_order_whatever_runs_on() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile(SHARED).start();
    let mut connection = server.connect(&tester);
    let commands =
        ["args a", "sleep 100", "args b", "@ping", "sleep 50", "echo c", "args d", "nosuch", "args e"];
    connection.send(commands.map(|command| format!("{command}\r\n\r\n")).concat());
    let replies: Vec<String> = commands.iter().map(|_| connection.read_reply()).collect();
    let begins = ["a", "slept", "b", "pong", "slept", "c", "d", "ERR Unknown command nosuch", "e"];
    for (reply, begin) in replies.iter().zip(begins) {
        assert!(reply.contains(begin), "{replies:?}");
    }
}

#[test]
fn what_a_batch_refuses_by_its_permission_is_answered_in_its_turn() {
    let tester = Identity::new("tester");
    let setup = Setup::new().client("tester", &tester, &["args", "sleep", "leak"]).hostile(SHARED);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    // `body` goes to the same plugin as the requests before it, so only its permission keeps it out of a
    // batch.
    let commands = ["args a", "body", "sleep 100", "body", "args b", "body", "body", "args c"];
    connection.send(commands.map(|command| format!("{command}\r\n\r\n")).concat());
    let replies: Vec<String> = commands.iter().map(|_| connection.read_reply()).collect();
    let denied = "ERR Command body is not allowed to this client";
    for (reply, begin) in replies.iter().zip(["a", denied, "slept", denied, "b", denied, denied, "c"]) {
        assert!(reply.contains(begin), "{replies:?}");
    }
    let frames = connection.ask_all(&[("leak", ""), ("body", ""), ("leak", ""), ("leak", ""), ("body", "")]);
    assert_eq!(frames.iter().map(told).collect::<Vec<_>>(), ["1", "forbidden", "2", "3", "forbidden"]);
}

#[test]
fn a_deadline_that_has_passed_is_told_in_its_place() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    connection.send("args a\r\n\r\nargs b\r\nTimeout-Ms: 0\r\n\r\nargs c\r\n\r\n");
    let replies: Vec<String> = (0..3).map(|_| connection.read_reply()).collect();
    assert!(replies[0].contains('a') && replies[1].starts_with("ERR The deadline passed"), "{replies:?}");
    assert!(replies[2].contains('c'), "{replies:?}");
}

#[test]
fn a_sequence_may_come_again_once_it_was_answered_and_not_before() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    for body in ["1", "2", "3"] {
        connection.send("leak\r\nSequence: s\r\n\r\n");
        assert_eq!(told(&connection.read_frame()), body);
    }
    // The same in one piece. On a busy machine one may still be running, and the next is rightly a fault.
    eventually("three that each end at once", || {
        let mut connection = server.connect(&tester);
        connection.send("leak\r\nSequence: s\r\n\r\n".repeat(3));
        connection.end_sending();
        let (bytes, _) = connection.read_to_end();
        let answered = String::from_utf8_lossy(&bytes).matches("OK\r\nSequence: s\r\n").count();
        (answered == 3).then_some(())
    });
    connection.send("sleep 300\r\nSequence: s\r\n\r\nleak\r\nSequence: s\r\n\r\n");
    let (bytes, _) = connection.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("slept") && text.contains("ERR Bad request: "), "{text}");
}

#[test]
fn a_connection_that_ends_at_an_error_runs_nothing_behind_it() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).section("[protocol]\nclose_on_error = true");
    let server = setup.hostile(SHARED).start();
    let mut connection = server.connect(&tester);
    connection.send("leak\r\n\r\nfail conflict no\r\n\r\nleak\r\n\r\n");
    assert_eq!(connection.read_reply(), "1");
    assert_eq!(connection.read_reply(), "ERR no");
    connection.assert_closed();
    assert_eq!(server.connect(&tester).ask("leak"), "2");
}

#[test]
fn misuse_of_the_queue_breaks_off_that_call_alone() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    for misuse in ["queue-more", "queue-leave", "trap", "exit 3"] {
        let frames =
            connection.ask_all(&[("leak", ""), ("leak", ""), (misuse, ""), ("leak", ""), ("leak", "")]);
        let told: Vec<String> = frames.iter().map(told).collect();
        assert_eq!(told[2], "plugin-trapped", "{misuse}: {told:?}");
        assert_eq!(frames[2].field("Outcome"), Some("unknown"), "{misuse}");
        // Calls after it have another instance, in which the next misuse happens.
        let counts: Vec<u32> = [0, 1, 3, 4].iter().map(|&at| told[at].parse().unwrap()).collect();
        assert_eq!((counts[1] - counts[0], counts[2], counts[3]), (1, 1, 2), "{misuse}: {told:?}");
    }
}

#[test]
fn a_reply_stands_although_the_instance_exits_after_it() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    for (number, way) in ["return", "trap"].into_iter().enumerate() {
        let exit = format!("queue-exit {way}");
        assert_eq!(connection.ask(&exit), way, "alone");
        let told: Vec<String> =
            connection.ask_all(&[("leak", ""), (exit.as_str(), "")]).iter().map(told).collect();
        assert_eq!(told, ["1", way], "in a batch");
        assert_eq!(connection.ask("leak"), "1", "a fresh instance");
        assert_eq!(connection.ask(&exit), way, "the last of several");
        let logged = || server.log().iter().filter(|entry| entry.message() == "plugin broke off").count();
        eventually("it is logged", || (logged() == 3 * (number + 1)).then_some(()));
    }
}

#[test]
fn an_instance_that_does_not_come_back_for_the_next_call_gets_none() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    for _ in 0..3 {
        // After its reply it waits, and then traps: that is not the fault of the call behind it.
        assert_eq!(connection.ask("queue-exit late"), "late");
        assert_eq!(connection.ask("leak"), "1", "a fresh instance");
        let told: Vec<String> =
            connection.ask_all(&[("leak", ""), ("queue-exit late", "")]).iter().map(told).collect();
        assert_eq!(told, ["2", "late"], "in a batch");
    }
}

#[test]
fn the_queue_is_for_an_instance_at_work_alone() {
    let (server, tester) = with_hostile("");
    let mut connection = server.connect(&tester);
    for misuse in ["queue-more", "queue-next", "queue-reply"] {
        let reply = connection.ask_framed(misuse);
        assert_eq!(reply.failure(), ("plugin-trapped", "unknown"), "{misuse}: {reply:?}");
    }
    assert_eq!(connection.ask("leak"), "1");
}

#[test]
fn large_answers_of_a_batch_are_all_sent() {
    let (server, tester) = with_hostile(SHARED);
    let mut connection = server.connect(&tester);
    let frames = connection.ask_all(&[("big 100000", ""); 20]);
    assert!(frames.iter().all(|frame| frame.body.len() == 100_000));
    // Of messages that long, only the beginning is kept and sent.
    let frames = connection.ask_all(&[("fail-big", ""); 20]);
    assert!(frames.iter().all(|frame| frame.failure() == ("plugin-failed", "failed")), "{frames:?}");
    assert!(frames.iter().all(|frame| frame.message.chars().count() == 1025));
    let frames = connection.ask_all(&[("leak", ""); 100]);
    let mut counts: Vec<u32> = frames.iter().map(|frame| told(frame).parse().unwrap()).collect();
    // Calls that did not fit into one turn may be overtaken.
    counts.sort_unstable();
    assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counts:?}");
}

/// Plugins of toolchains without support for `worker`.
#[test]
fn a_warm_instance_without_a_worker_is_entered_for_each_call() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    // Answers `o0`, `o1`, and so on.
    let counts = "(i32.store8 (i32.const 30017) (i32.load8_u (i32.const 31000)))
      (i32.store8 (i32.const 31000) (i32.add (i32.load8_u (i32.const 31000)) (i32.const 1)))";
    let component = Minimal::new(&["run"])
        .describing_by("(i32.store8 (i32.const 31000) (i32.const 48))")
        .handling_by(&format!(
            "(if (i32.eqz (i32.load8_u (i32.const 31000))) (then (i32.store8 (i32.const 31000) (i32.const 48)))) {counts}"
        ))
        .write(setup.folder(), "guest");
    let server = setup.plugin("guest", &component, &["run"], SHARED).start();
    let mut connection = server.connect(&tester);
    let told: Vec<String> = connection.ask_all(&[("run", ""); 4]).iter().map(told).collect();
    assert_eq!(told, ["o0", "o1", "o2", "o3"]);
}

#[test]
fn the_sdks_plugins_stay_entered_and_answer_as_fresh_ones_do() {
    let tester = Identity::new("tester");
    let mut setup = Setup::new().master("tester", &tester);
    for (name, keys) in [("warm", SHARED), ("fresh", "")] {
        setup = setup.plugin(name, components::echo(), &[name], keys);
    }
    let server = setup.start();
    let mut connection = server.connect(&tester);
    let long = "x".repeat(4000);
    for arguments in ["", "a", "a b", "\"\" \"\"", "\"\\xc3\\xa9 \\r\\n\\x00\" é", &long] {
        let [warm, fresh] = ["warm", "fresh"].map(|name| format!("{name} {arguments}").trim_end().to_owned());
        let requests = [(warm.as_str(), "|body"), (warm.as_str(), "|body"), (fresh.as_str(), "|body")];
        let frames = connection.ask_all(&requests);
        assert_eq!(frames[0].body, frames[2].body, "{arguments:?}");
        assert_eq!(frames[1].body, frames[2].body, "{arguments:?}");
    }
}
