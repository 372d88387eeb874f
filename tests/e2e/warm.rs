//! Consecutive calls: resources that one passes to the next on its connection, and those it must not.

use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::components;
use testkit::server::{Server, Setup};

fn ask_all(connection: &mut Connection, commands: &[&str]) -> Vec<Frame> {
    connection.ask_all(&commands.iter().map(|command| (*command, "")).collect::<Vec<_>>())
}

fn bodies(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8_lossy(&frame.body).into_owned()).collect()
}

fn with_hostile(setup: Setup, keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = setup.master("tester", &tester).echo().hostile(keys).start();
    (server, tester)
}

#[test]
fn calls_in_a_row_run_in_one_instance_until_it_is_worn() {
    let (server, tester) = with_hostile(Setup::new(), "instances = \"shared\"\nmax_calls = 3");
    let frames = ask_all(&mut server.connect(&tester), &["leak"; 7]);
    assert_eq!(bodies(&frames), ["1", "2", "3", "1", "2", "3", "1"]);
}

#[test]
fn calls_in_a_row_have_fresh_instances_where_nothing_else_is_asked_for() {
    let (server, tester) = with_hostile(Setup::new(), "");
    let frames = ask_all(&mut server.connect(&tester), &["leak"; 5]);
    assert_eq!(bodies(&frames), ["1"; 5]);
}

#[test]
fn a_trap_among_calls_in_a_row_costs_the_others_nothing() {
    let (server, tester) = with_hostile(Setup::new(), "instances = \"shared\"");
    let commands = ["leak", "leak", "trap", "leak", "nosuch", "fail conflict no", "leak", "echo end"];
    let frames = ask_all(&mut server.connect(&tester), &commands);
    let told: Vec<&str> =
        frames.iter().map(|frame| frame.field("Code").unwrap_or(frame.status.as_str())).collect();
    assert_eq!(told, ["OK", "OK", "plugin-trapped", "OK", "unknown-command", "conflict", "OK", "OK"]);
    let bodies = bodies(&frames);
    assert_eq!(bodies[..2], ["1", "2"]);
    assert_eq!(bodies[3], "1", "what trapped is not used again");
    assert_eq!((bodies[6].as_str(), bodies[7].as_str()), ("2", "end"));
}

#[test]
fn a_call_that_waits_keeps_its_own_slot_and_is_overtaken() {
    let (server, tester) = with_hostile(Setup::new(), "instances = \"shared\"");
    let mut connection = server.connect(&tester);
    connection.send(
        "leak\r\nSequence: 1\r\n\r\nsleep 200\r\nSequence: slow\r\n\r\nleak\r\nSequence: 2\r\n\r\nleak\r\nSequence: 3\r\n\r\n",
    );
    let frames: Vec<Frame> = (0..4).map(|_| connection.read_frame()).collect();
    let order: Vec<&str> = frames.iter().filter_map(|frame| frame.field("Sequence")).collect();
    assert_eq!(order, ["1", "2", "3", "slow"]);
    // The first one's instance went with the waiting call; the two after it have another.
    assert_eq!(bodies(&frames), ["1", "1", "2", "slept"]);
}

#[test]
fn one_slot_serves_all_connections_that_have_calls_in_a_row() {
    let few =
        "[limits]\nconcurrent_commands = 1\nconcurrent_commands_per_client = 1\nqueue_timeout = \"20s\"";
    let tester = Identity::new("tester");
    let mut setup = Setup::new().master("tester", &tester).section(few).echo();
    // A plugin with its own slots, for which calls have to wait in an order that can't be circular.
    for (name, keys) in
        [("one", "instances = \"shared\"\nconcurrency = 1"), ("many", "instances = \"per-client\"")]
    {
        setup = setup.plugin(name, components::echo(), &[name], keys);
    }
    let server = setup.start();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (server, tester) = (&server, &tester);
            scope.spawn(move || {
                let mut connection = server.connect(tester);
                for round in 0..20 {
                    let (one, many) = (format!("one {number} {round}"), format!("many {number} {round}"));
                    let commands = [&*one, &*many, "echo fresh", &*many, &*one, &*one, &*many, "echo fresh"];
                    let expected = commands.map(|command| command.split_once(' ').unwrap().1.to_owned());
                    assert_eq!(bodies(&ask_all(&mut connection, &commands)), expected);
                }
            });
        }
    });
}

#[test]
fn one_clients_calls_leave_nothing_of_a_clients_own_instance_to_another() {
    let (one, other) = (Identity::new("one"), Identity::new("other"));
    let setup = Setup::new().master("one", &one).master("other", &other);
    let server = setup.hostile("instances = \"per-client\"").start();
    let (mut of_one, mut of_other) = (server.connect(&one), server.connect(&other));
    assert_eq!(bodies(&ask_all(&mut of_one, &["leak"; 3])), ["1", "2", "3"]);
    assert_eq!(bodies(&ask_all(&mut of_other, &["leak"; 3])), ["1", "2", "3"]);
    assert_eq!(bodies(&ask_all(&mut of_one, &["leak"; 2])), ["4", "5"]);
}
