//! The JSON of built-in commands, and the conditions by which `@clients` and `@kick` choose.

use std::time::Duration;

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::{Connection, Frame};
use testkit::server::{Server, Setup};
use testkit::{eventually, let_pass};

/// A server with an operator, `ci` with two connections and `laptop` with one, after a request of each.
struct Company {
    server: Server,
    operator: Connection,
    ci: [Connection; 2],
    laptop: Connection,
}

fn company() -> Company {
    let [operator, ci, laptop] = ["operator", "ci", "laptop"].map(Identity::new);
    let setup = Setup::new().master("operator", &operator);
    let server = setup.client("ci", &ci, &["echo"]).client("laptop", &laptop, &["echo"]).echo().start();
    let connect = |identity| {
        let mut connection = server.connect(identity);
        assert_eq!(connection.ask("echo hello"), "hello");
        connection
    };
    let (ci, laptop) = ([connect(&ci), connect(&ci)], connect(&laptop));
    let operator = connect(&operator);
    Company { server, operator, ci, laptop }
}

/// Asks for a built-in's JSON.
fn json(connection: &mut Connection, command: &str) -> Value {
    let frame = in_form(connection, command, "json");
    assert_eq!(frame.status, "OK", "{command}: {frame:?}");
    serde_json::from_str(frame.text()).unwrap_or_else(|error| panic!("{command}: {error}: {frame:?}"))
}

fn in_form(connection: &mut Connection, command: &str, form: &str) -> Frame {
    connection.send(format!("{command}\r\nSequence: f\r\nFormat: {form}\r\n\r\n"));
    connection.read_frame()
}

#[test]
fn each_built_in_has_a_form_for_programs() {
    let Company { server, mut operator, ci: _ci, laptop: _laptop } = company();
    let operator = &mut operator;
    assert_eq!(json(operator, "@ping")["pong"], true);
    let who = json(operator, "@whoami");
    assert_eq!((&who["client"], &who["known_by"]), (&"operator".into(), &"pin".into()));
    assert_eq!(who["sha256"].as_str().map(str::len), Some(64));
    let commands = json(operator, "@commands");
    let commands = commands["commands"].as_array().unwrap();
    let first = &commands[0];
    assert_eq!((&first["command"], &first["usage"]), (&"echo".into(), &"echo [TEXT]...".into()));
    assert!(commands.iter().any(|command| command["command"] == "@kick"), "{commands:?}");
    let status = json(operator, "@status");
    assert_eq!((&status["clients"], &status["plugins"]), (&3.into(), &1.into()));
    assert_eq!(status["connections"], 4);
    assert_eq!(status["config"]["reloads"], 0);
    assert_eq!(status["memory"]["is_short"], false);
    assert!(status["memory"]["used_bytes"].as_u64() > Some(1 << 20));
    for command in ["@metrics", "@status metrics"] {
        let metrics = json(operator, command);
        assert!(metrics["metrics"].as_str().unwrap().contains("\nlictor_connections 4\n"));
    }
    assert!(json(operator, "@status unused")["unused"].is_array());
    let plugins = json(operator, "@plugins");
    let plugin = &plugins["plugins"][0];
    assert_eq!((&plugin["plugin"], &plugin["commands"][0]), (&"echo".into(), &"echo".into()));
    assert_eq!(plugin["sha256"].as_str().map(str::len), Some(64));
    server.edit(|text| format!("{text}\n[limits]\nidle_timeout = \"30m\"\n"));
    let changes = json(operator, "@reload");
    assert!(changes["changes"][0].as_str().unwrap().contains("limits.idle_timeout"), "{changes}");
    assert_eq!(json(operator, "@reload")["changes"].as_array().map(Vec::len), Some(0));
    server.edit(|text| text.replace("30m", "30 m"));
    assert_eq!(in_form(operator, "@reload", "json").failure(), ("conflict", "failed"));
    let config = &json(operator, "@status")["config"];
    assert_eq!((&config["reloads"], &config["failed_reloads"]), (&2.into(), &1.into()));
    assert!(config["fault"].as_str().unwrap().contains("idle_timeout"), "{config}");
    assert_eq!(in_form(operator, "@cancel x", "json").failure(), ("not-found", "failed"));
    for command in ["@ping", "@whoami", "@status", "@reload", "@drain", "@kick c1"] {
        for form in ["yaml", "JSON", ""] {
            let frame = in_form(operator, command, form);
            assert_eq!(frame.failure(), ("bad-arguments", "failed"), "{command} {form}: {frame:?}");
        }
    }
    assert_eq!(json(operator, "@drain")["stopping"], true);
}

#[test]
fn a_running_request_is_cancelled_in_json() {
    let operator = Identity::new("operator");
    let server = Setup::new().master("operator", &operator).hostile("timeout = \"10m\"").start();
    let mut operator = server.connect(&operator);
    operator.send("sleep 600000\r\nSequence: s\r\n\r\n@cancel s\r\nSequence: c\r\nFormat: json\r\n\r\n");
    let frames = [operator.read_frame(), operator.read_frame()];
    let cancelled = frames.iter().find(|frame| frame.field("Sequence") == Some("c")).unwrap();
    assert_eq!(cancelled.text(), "{\"cancelling\":\"s\"}");
}

/// Names the clients and connections that `@clients` shows by these conditions.
fn shown(operator: &mut Connection, conditions: &str) -> Vec<(String, usize)> {
    let listed = json(operator, format!("@clients {conditions}").trim_end());
    let clients = listed["clients"].as_array().unwrap().iter();
    let of_client = |client: &Value| {
        (client["client"].as_str().unwrap().to_owned(), client["connections"].as_array().unwrap().len())
    };
    clients.map(of_client).collect()
}

fn expected(clients: &[(&str, usize)]) -> Vec<(String, usize)> {
    clients.iter().map(|(client, connections)| ((*client).to_owned(), *connections)).collect()
}

#[test]
fn clients_are_listed_by_conditions() {
    let Company { server: _server, mut operator, ci: [mut busy, _idle], laptop } = company();
    let operator = &mut operator;
    let listed = json(operator, "@clients client=ci");
    let first = &listed["clients"][0]["connections"][0];
    assert_eq!(first["requests"], 1);
    let id = first["connection"].as_str().unwrap().to_owned();
    let address = first["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let all = [("ci", 2), ("laptop", 1), ("operator", 1)];
    for (conditions, clients) in [
        ("", &all[..]),
        ("client=*", &all),
        ("address=127.0.0.1", &all),
        ("address=127.0.0.0/8 age<1h idle<1h", &all),
        ("client=ci", &[("ci", 2)]),
        ("client=*t*", &[("laptop", 1), ("operator", 1)]),
        ("client=*t* client=l*", &[("laptop", 1)]),
        ("client=nobody", &[]),
        ("address=10.0.0.0/8", &[]),
        ("address=::/0", &[]),
        ("age>1h", &[]),
        ("idle>1h client=ci", &[]),
        (&format!("id={id}"), &[("ci", 1)]),
        (&format!("id={id} client=laptop"), &[]),
        ("id=c999", &[]),
    ] {
        assert_eq!(shown(operator, conditions), expected(clients), "{conditions}");
    }
    drop(laptop);
    eventually("it to be gone", || {
        (shown(operator, "client=laptop") == expected(&[("laptop", 0)])).then_some(())
    });
    assert_eq!(shown(operator, "client=laptop age<1h"), expected(&[]));
    let_pass(Duration::from_millis(1_100));
    assert_eq!(busy.ask("echo again"), "again");
    assert_eq!(shown(operator, "client=ci idle>1s"), expected(&[("ci", 1)]));
    assert_eq!(shown(operator, "client=ci idle<1s"), expected(&[("ci", 1)]));
    assert_eq!(shown(operator, "client=ci age>1s"), expected(&[("ci", 2)]));
    assert_eq!(operator.ask("@clients client=ci idle>1s").lines().count(), 2);
    for (conditions, told) in [
        ("ci", "`ci` is no condition: client=NAME"),
        ("name=ci", "`name=ci` is no condition"),
        ("client>ci", "write client=ci"),
        ("id=x", "write id=c5"),
        ("id=c+5", "write id=c5"),
        ("address=localhost", "write address=192.0.2.7 or address=10.0.0.0/8"),
        ("idle=5m", "write idle>5m"),
        ("idle>5", "write \"5s\""),
        ("age<", "has no time"),
        ("\"\"", "is no condition"),
    ] {
        let frame = operator.ask_framed(&format!("@clients {conditions}"));
        assert_eq!(frame.failure(), ("bad-arguments", "failed"), "{conditions}");
        assert!(frame.message.contains(told), "{conditions}: {}", frame.message);
    }
}

#[test]
fn connections_are_closed_by_conditions_but_not_the_operators_own() {
    let Company { server, mut operator, ci, mut laptop } = company();
    for (conditions, code, told) in [
        ("", "bad-arguments", "Usage: @kick CONNECTION, or conditions: client=NAME"),
        ("client=nobody", "not-found", "No other connection meets these conditions"),
        ("client=operator", "not-found", "No other connection"),
        ("c1 c2", "bad-arguments", "`c1` is no condition"),
        ("idle>soon", "bad-arguments", "has no time"),
    ] {
        let frame = operator.ask_framed(format!("@kick {conditions}").trim_end());
        assert_eq!(frame.failure(), (code, "failed"), "{conditions}: {frame:?}");
        assert!(frame.message.contains(told), "{conditions}: {}", frame.message);
    }
    let ended = operator.ask("@kick client=ci age<1h");
    assert_eq!(ended.lines().count(), 2);
    assert!(ended.lines().all(|line| line.starts_with("ending c") && line.ends_with(" of ci")), "{ended}");
    for mut connection in ci {
        assert_eq!(connection.read_reply(), "ERR The connection was ended by an operator");
        connection.assert_closed();
    }
    assert_eq!(laptop.ask("echo still"), "still");
    eventually("the connections to be gone", || {
        (shown(&mut operator, "client=ci") == expected(&[("ci", 0)])).then_some(())
    });
    assert_eq!(operator.ask("@kick client=*").lines().count(), 1);
    laptop.read_reply();
    laptop.assert_closed();
    let own = json(&mut operator, "@clients client=operator");
    let own = own["clients"][0]["connections"][0]["connection"].as_str().unwrap().to_owned();
    assert_eq!(json(&mut operator, &format!("@kick {own}"))["ending"][0], own.as_str());
    drop(server);
}
