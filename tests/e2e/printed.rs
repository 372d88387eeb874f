//! Output of plugins: the request it is logged for, and the part that is logged.

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::{self, PRINTING_COMMANDS};
use testkit::eventually;
use testkit::server::{Entry, Server, Setup};

/// Starts a server with the plugin `printing`, configured by `keys`, and two clients that may do anything.
fn printing(keys: &str) -> (Server, [Identity; 2]) {
    let clients = [Identity::new("alice"), Identity::new("bob")];
    let setup = Setup::new().master("alice", &clients[0]).master("bob", &clients[1]);
    let setup = setup.plugin("printing", components::printing(), &PRINTING_COMMANDS, keys);
    (setup.start(), clients)
}

fn lines(server: &Server) -> Vec<Entry> {
    server.log().into_iter().filter(|entry| entry.message() == "plugin output").collect()
}

fn left_out(entry: &Entry) -> u64 {
    entry.value("left_out_bytes").map_or(0, |value| value.as_u64().unwrap())
}

/// Returns the last of `count` lines, each of which was followed by another one.
fn long_line(server: &Server, count: usize) -> Entry {
    eventually("what was printed behind it", || {
        let mut lines = lines(server);
        let ends = lines.iter().filter(|line| line.text("line") == Some("behind it")).count();
        lines.retain(|line| line.text("line") != Some("behind it"));
        assert!(lines.len() <= count, "a line is logged in several: {lines:?}");
        (ends == count).then(|| lines.remove(count - 1))
    })
}

/// In an instance that serves both: an unfinished line of one request is no part of the other's output.
#[test]
fn what_is_printed_for_a_request_is_logged_with_it_and_no_other() {
    for keys in ["instances = \"shared\"", "instances = \"per-client\"", ""] {
        let (server, clients) = printing(keys);
        let mut connections = clients.each_ref().map(|client| server.connect(client));
        let names = ["alice", "bob"];
        for round in 0..5 {
            for (connection, name) in connections.iter_mut().zip(names) {
                assert_eq!(connection.ask(&format!("half \"of {name} {round};\"")), "printed");
                assert_eq!(connection.ask(&format!("half-err \"of {name} {round};\"")), "printed");
                assert_eq!(connection.ask(&format!("half-fail \"of {name} {round};\"")), "ERR printed");
                // Several at once, which one instance takes consecutively.
                let half = format!("half \"of {name} {round};\"\r\n\r\n");
                connection.send(half.repeat(3));
                (0..3).for_each(|_| assert_eq!(connection.read_reply(), "printed"));
            }
        }
        for connection in &mut connections {
            assert!(connection.ask("half-panic \"of nobody;\"").starts_with("ERR "));
        }
        let logged = eventually("all that was printed", || {
            let lines = lines(&server);
            let of = |name: &str| lines.iter().filter(|line| line.text("client") == Some(name)).count();
            // One line for each call; for those that panic, that line and the panic's message.
            (names.iter().all(|name| of(name) == 5 * 6 + 2)).then_some(lines)
        });
        let mut requests: Vec<_> =
            logged.iter().map(|line| line.text("request").unwrap().to_owned()).collect();
        requests.sort_unstable();
        requests.dedup();
        assert_eq!(requests.len(), 2 * (5 * 6 + 1), "each has a request of its own: {keys}");
        for line in &logged {
            let text = line.text("line").unwrap();
            let is_own = text.starts_with(&format!("of {} ", line.text("client").unwrap()));
            assert!(is_own || text == "of nobody;" || text.starts_with("panicked"), "{line:?}");
            assert_eq!(text.matches(';').count(), usize::from(!text.starts_with("panicked")), "{line:?}");
        }
    }
}

#[test]
fn a_long_line_is_cut_between_characters_and_what_is_left_out_is_told() {
    let (server, [alice, _]) = printing("");
    let mut connection = server.connect(&alice);
    let mut printed = 0;
    for command in ["line", "bytes", "logged"] {
        for (character, cut) in [('a', 2048), ('é', 2048), ('☃', 2046), ('🦀', 2048)] {
            for count in [cut / character.len_utf8(), 1 + cut / character.len_utf8(), 3000] {
                assert_eq!(connection.ask(&format!("{command} {character} {count}")), "printed");
                printed += 1;
                let entry = long_line(&server, printed);
                let (text, whole) = (entry.text("line").unwrap(), count * character.len_utf8());
                assert!(text.chars().all(|c| c == character), "{command}: {text}");
                assert_eq!(text.len(), whole.min(cut), "{command} {character} {count}");
                assert_eq!(text.len() + left_out(&entry) as usize, whole, "{command} {character} {count}");
            }
        }
    }
}

/// Holds however short replies may be.
#[test]
fn no_line_is_too_long_to_be_printed() {
    let (server, [alice, _]) = printing("reply = \"1KiB\"\nmemory = \"256MiB\"\ntimeout = \"60s\"");
    let mut connection = server.connect(&alice);
    for (command, megabytes) in [("line", 2), ("logged", 2), ("logged", 20)] {
        let bytes = megabytes << 20;
        assert_eq!(
            connection.ask(&format!("{command} L {bytes}")),
            "printed",
            "{command} of {megabytes} MiB"
        );
        server.wait_for_log("the line", |entry| left_out(entry) == bytes - 2048);
    }
    eventually("what was printed behind each", || {
        let lines = lines(&server);
        (lines.iter().filter(|line| line.text("line") == Some("behind it")).count() == 3).then_some(())
    });
}

/// Omitted output is reported without the plugin's help: it prints once and never again.
#[test]
fn what_is_left_out_of_the_log_is_told_at_once() {
    let (server, [alice, bob]) = printing("instances = \"shared\"");
    let mut connection = server.connect(&alice);
    // More lines than fit into a second.
    assert_eq!(connection.ask("lines 1000 8"), "printed");
    let is_alices =
        |entry: &Entry| (entry.text("client"), entry.text("plugin")) == (Some("alice"), Some("printing"));
    let counted = eventually("all of them, written or counted", || {
        let log: Vec<_> = server.log().into_iter().filter(is_alices).collect();
        let of = |message: &'static str| log.iter().filter(move |entry| entry.message() == message);
        let counts = of("not logged one by one").filter_map(|entry| entry.value("count")?.as_u64());
        let counted: u64 = counts.sum();
        (of("plugin output").count() as u64 + counted == 1000).then_some(counted)
    });
    assert!(counted > 0, "a second has room for all of them");
    // More bytes than fit into a call.
    let mut connection = server.connect(&bob);
    assert_eq!(connection.ask("lines 100 1000"), "printed");
    let told = server.wait_for_log("what was left out", |entry| entry.message() == "output was left out");
    assert_eq!((told.text("client"), told.text("stream")), (Some("bob"), Some("stdout")));
    // The last line that fits is cut.
    let (logged, bytes) = (65_536 / 1000 + 1, 65_536 % 1000);
    assert_eq!(told.value("lines").and_then(|lines| lines.as_u64()), Some(100 - logged));
    assert_eq!(told.value("bytes").and_then(|bytes| bytes.as_u64()), Some((100 - logged) * 1000));
    let lines: Vec<_> =
        lines(&server).into_iter().filter(|line| line.text("client") == Some("bob")).collect();
    assert_eq!(lines.len() as u64, logged);
    assert_eq!(left_out(&lines[lines.len() - 1]), 1000 - bytes);
    assert_eq!(lines[0].text("request"), told.text("request"));
}

/// Text that a plugin buffers and prints later counts as the later request's: the host can't know better.
#[test]
fn the_next_request_begins_with_a_line_of_its_own() {
    let (server, [alice, bob]) = printing("instances = \"shared\"");
    let ask = |client: &Identity, line: &str| -> Connection {
        let mut connection = server.connect(client);
        assert_eq!(connection.ask(line), "printed");
        connection
    };
    let _kept = [ask(&alice, "half secret"), ask(&bob, "lines 1 1")];
    let line = server.wait_for_log("the next request's", |entry| entry.text("line") == Some("0"));
    assert_eq!(line.text("client"), Some("bob"));
    let secret = server.wait_for_log("the first request's", |entry| entry.text("line") == Some("secret"));
    assert_eq!(secret.text("client"), Some("alice"));
}
