//! `@errors`: refused connections and failed commands, each kind once, with the lines that would allow it.

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::peer::Peer;
use testkit::server::{Server, Setup};
use testkit::{eventually, tcp_from};

fn start(setup: impl FnOnce(Setup) -> Setup) -> (Server, Connection, Connection) {
    let [operator, ci] = ["operator", "ci"].map(Identity::new);
    let base = Setup::new().master("operator", &operator).client("ci", &ci, &["echo public *", "nosuch-*"]);
    let server = setup(base.echo()).start();
    let [operator, ci] = [&operator, &ci].map(|identity| server.connect(identity));
    (server, operator, ci)
}

/// Asks for all errors as JSON.
fn all(operator: &mut Connection) -> Value {
    let frame = operator.ask_all(&[("@errors 1000", "Format: json\r\n")]).remove(0);
    assert_eq!(frame.status, "OK", "{frame:?}");
    assert!(!frame.text().contains(|c: char| c.is_control() || c == '\u{202e}'), "{frame:?}");
    serde_json::from_str(frame.text()).unwrap()
}

/// Returns the errors for `reason`.
fn of(operator: &mut Connection, reason: &str) -> Vec<Value> {
    let all = all(operator);
    let errors = all["errors"].as_array().unwrap().iter();
    errors.filter(|error| error["reason"] == reason).cloned().collect()
}

/// Connects from the address 127.0.0.`host` as `identity`, and returns what the server says.
fn told(server: &Server, host: u8, identity: &Identity) -> String {
    let socket = tcp_from([127, 0, 0, host], server.address());
    let peer = Peer::open_over(socket, Tls::showing(identity).config());
    peer.map(|mut peer| peer.read_to_end()).unwrap_or_default()
}

#[test]
fn an_unknown_certificate_is_told_with_the_section_that_admits_it() {
    let (server, mut operator, _ci) = start(|setup| setup);
    let newcomer = Identity::with_organization("new\u{202e}comer\u{1b}[2J", "x");
    for _ in 0..3 {
        assert!(told(&server, 1, &newcomer).contains("is unknown"));
    }
    let error =
        eventually("the refusals", || of(&mut operator, "unknown").pop().filter(|error| error["count"] == 3));
    assert_eq!((&error["kind"], &error["network"]), (&"connection".into(), &"127.0.0.1".into()));
    assert_eq!(error["of"], newcomer.sha256());
    assert!(error["example"].as_str().unwrap().starts_with('c'), "{error}");
    assert!(error["first"].as_str() <= error["last"].as_str(), "{error}");
    let text = operator.ask("@errors");
    assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
    assert!(text.starts_with("unknown  connection  3 times, "), "{text}");
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let section = lines.join("\n").replace("NAME", "newcomer");
    server.edit(|text| format!("{text}\n{section}\n"));
    operator.ask("@reload");
    assert_eq!(server.connect(&newcomer).ask("@ping"), "pong");
    let known = of(&mut operator, "unknown").remove(0);
    assert_eq!(known["to_allow"], Value::Null);
    assert_eq!(known["advice"], "it is pinned for the client newcomer by now");
}

#[test]
fn a_forbidden_command_is_told_with_the_line_that_allows_it() {
    let (server, mut operator, mut ci) = start(|setup| setup.section("[log]\narguments = true"));
    let evil = "echo secret \"a \u{202e}*\\x1b\"";
    for _ in 0..30 {
        assert_eq!(ci.ask_framed(evil).failure(), ("forbidden", "not-run"));
    }
    let error = eventually("those that were only counted", || {
        of(&mut operator, "forbidden").pop().filter(|error| error["count"] == 30)
    });
    for (key, value) in [("client", "ci"), ("command", "echo"), ("plugin", "echo"), ("kind", "command")] {
        assert_eq!(error[key], value, "{error}");
    }
    assert_eq!(error["detail"], "`echo public *` (argument 1 differs)");
    let text = operator.ask("@errors");
    assert!(text.contains("to allow it, in [clients.ci], "), "{text}");
    assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
    // The line does what it says, and no more.
    let line = error["to_allow"].as_str().unwrap().to_owned();
    server.edit(|text| text.replace("commands = [\"echo public *\", \"nosuch-*\"]", &line));
    operator.ask("@reload");
    assert_eq!(ci.ask_framed(evil).status, "OK");
    assert_eq!(ci.ask_framed("echo secret b").failure(), ("forbidden", "not-run"));
}

#[test]
fn arguments_that_are_not_logged_are_not_told() {
    let (server, mut operator, mut ci) = start(|setup| setup.section("[log]\narguments = true"));
    ci.ask_framed("echo my-secret");
    server.edit(|text| text.replace("arguments = true", "arguments = false"));
    operator.ask("@reload");
    ci.ask_framed("@kick my-secret");
    let errors = of(&mut operator, "forbidden");
    assert_eq!(errors.len(), 2);
    for error in &errors {
        let line = error["to_allow"].as_str().unwrap();
        let command = error["command"].as_str().unwrap();
        assert!(line.ends_with(&format!(", \"{command}\"]")), "{error}");
        assert!(
            error["advice"].as_str().unwrap().starts_with("to allow it with any arguments, in"),
            "{error}"
        );
    }
    assert!(!all(&mut operator).to_string().contains("my-secret"));
    assert!(!operator.ask("@errors").contains("my-secret"));
    // Nobody else sees any of it.
    assert_eq!(ci.ask_framed("@errors").failure(), ("forbidden", "not-run"));
    for arguments in ["0", "x", "1 2", "-1"] {
        assert_eq!(operator.ask_framed(&format!("@errors {arguments}")).failure().0, "bad-arguments");
    }
}

#[test]
fn failures_have_their_code_plugin_and_advice() {
    let hostile = Identity::new("tester");
    let (server, mut operator, mut ci) =
        start(|setup| setup.client("tester", &hostile, &["*"]).hostile("timeout = \"200ms\""));
    let mut tester = server.connect(&hostile);
    for (command, code) in
        [("trap", "plugin-trapped"), ("spin", "timeout"), ("sleep x", "bad-arguments"), ("blank-line", "ok")]
    {
        let frame = tester.ask_framed(command);
        assert_eq!(frame.field("Code").unwrap_or("ok"), code, "{frame:?}");
    }
    tester.send("blank-line\r\n\r\n");
    tester.read_reply();
    for code in ["plugin-trapped", "timeout", "bad-arguments", "reply-unframeable"] {
        let error = of(&mut operator, code).remove(0);
        assert_eq!((&error["plugin"], &error["client"]), (&"hostile".into(), &"tester".into()));
        assert!(!error["advice"].as_str().unwrap().is_empty(), "{error}");
        let id = error["example"].as_str().unwrap().to_owned();
        server.wait_for_log("its line", |entry| entry.text("request") == Some(&id));
    }
    ci.send("a\rb\r\n\r\n");
    ci.read_reply();
    ci.assert_closed();
    let fault = of(&mut operator, "bad-request").remove(0);
    assert_eq!((&fault["client"], &fault["count"]), (&"ci".into(), &1.into()));
    let anonymous = Peer::open(server.address(), Tls::anonymous().config());
    drop(anonymous.map(|mut peer| peer.read_to_end()));
    let none = eventually("a refusal", || of(&mut operator, "no-certificate").pop());
    assert!(none["advice"].as_str().unwrap().contains("--cert"), "{none}");
    let text = operator.ask("@errors 1");
    assert!(text.contains(" more kinds: @errors "), "{text}");
}

/// Strangers with ever new certificates, and a client with ever new names.
#[test]
fn no_flood_pushes_out_what_others_caused_and_what_is_left_out_is_told() {
    let (server, mut operator, mut ci) = start(|setup| setup);
    let honest = Identity::new("honest");
    assert!(told(&server, 2, &honest).contains("is unknown"));
    assert_eq!(operator.ask_framed("@kick c999").failure().0, "not-found");
    for number in 0..500 {
        let name = format!("nosuch-{number}{}", "n".repeat(number * 10));
        assert_eq!(ci.ask_framed(&name).failure(), ("unknown-command", "not-run"));
    }
    let strangers: Vec<_> = (0..300).map(|number| Identity::new(&format!("stranger-{number}"))).collect();
    for stranger in &strangers {
        told(&server, 3, stranger);
    }
    let unknown = eventually("the last stranger", || {
        let unknown = of(&mut operator, "unknown");
        let last = strangers.last().map(Identity::sha256).unwrap();
        unknown.iter().any(|error| error["of"] == last).then_some(unknown)
    });
    assert!(unknown.iter().any(|error| error["of"] == honest.sha256()), "the honest one is still told");
    assert!(unknown.len() <= 256, "{}", unknown.len());
    let everything = all(&mut operator);
    let left_out = &everything["left_out"]["connections"];
    assert_eq!(left_out["errors"].as_u64(), Some(301 - unknown.len() as u64), "{left_out}");
    assert!(operator.ask("@errors").contains("left out, as there were too many kinds: "));
    let names = eventually("all names", || {
        let names = of(&mut operator, "unknown-command");
        (names.iter().map(|error| error["count"].as_u64().unwrap()).sum::<u64>() == 500).then_some(names)
    });
    assert_eq!(names.len(), 1, "all names that are no commands are one kind");
    assert!(names[0]["command"].as_str().unwrap().chars().count() <= 65);
    assert_eq!(of(&mut operator, "not-found").len(), 1);
    assert!(everything.to_string().len() < 300_000);
}
