//! Clients that expire: told before, refused after, and cut off when the time comes.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use testkit::certs::{Authority, Identity};
use testkit::client::{Connection, Tls};
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::reload::{is_cut_off, is_cut_off_after};

const PAST: &str = "expires = 2021-01-01T00:00:00Z";

/// Writes this time from now as the config has it.
pub fn from_now(time: Duration) -> String {
    jiff::Timestamp::try_from(SystemTime::now() + time).unwrap().to_string()
}

/// A server with an operator and the client `brief`, which may do anything and has these lines.
fn with_brief(lines: &str) -> (Server, Identity, Connection) {
    let (operator, brief) = (Identity::new("operator"), Identity::new("brief"));
    let setup = Setup::new().master("operator", &operator).master("brief", &brief).section(lines);
    let server = setup.echo().hostile("timeout = \"10m\"").start();
    let operator = server.connect(&operator);
    (server, brief, operator)
}

/// Has the client `brief` expire after this time, by a reload; returns the end.
fn expire(server: &Server, operator: &mut Connection, left: Duration) -> Instant {
    let (end, line) = (Instant::now() + left, format!("expires = {}\n", from_now(left)));
    server.edit(|text| text.replace("[clients.brief]\n", &format!("[clients.brief]\n{line}")));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.brief.expires");
    end
}

fn refusal(server: &Server, identity: &Identity) -> String {
    let mut connection = Connection::open(server.address(), Tls::showing(identity)).unwrap();
    let words = connection.read_reply();
    connection.assert_closed();
    words
}

#[test]
fn a_client_that_has_expired_is_refused_in_the_contracts_words() {
    let (server, brief, mut operator) = with_brief(PAST);
    let expected = format!(
        "ERR certificate (brief) thumbprint '{}' cannot be used: its client expired at 2021-01-01T00:00:00Z",
        brief.sha1()
    );
    assert_eq!(refusal(&server, &brief), expected);
    let told = server.wait_for_log("the refusal", |entry| entry.message() == "refused");
    assert_eq!(told.text("reason"), expected.strip_prefix("ERR "));
    assert!(
        operator
            .ask("@clients")
            .contains("brief  connections 0  last use never  expires 2021-01-01T00:00:00Z")
    );
    server.edit(|text| text.replace(PAST, ""));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.brief.expires");
    assert_eq!(server.connect(&brief).ask("echo in"), "in");
}

#[test]
fn a_client_that_expires_is_cut_off_with_what_it_runs() {
    let (server, brief, mut operator) = with_brief("");
    let mut connections = [(); 2].map(|()| server.connect(&brief));
    let [first, second] = &mut connections;
    second.send("spin\r\nSequence: s\r\n\r\n");
    let end = expire(&server, &mut operator, Duration::from_secs(3));
    assert!(first.ask("@whoami").ends_with("\nvalid for 0 days"));
    assert_eq!(second.ask("echo on"), "on");
    is_cut_off_after(end, first, "cannot be used: its client expired at ");
    let frame = second.read_frame();
    assert_eq!((frame.failure(), frame.message.as_str()), (("cancelled", "unknown"), "revoked"));
    is_cut_off_after(end, second, "cannot be used: its client expired at ");
    assert!(Instant::now() >= end, "not before its time");
    assert!(refusal(&server, &brief).contains("cannot be used: its client expired at "));
}

#[test]
fn a_client_that_is_known_by_a_uri_expires_as_well() {
    const URI: &str = "spiffe://example.org/brief";
    let (authority, operator) = (Authority::new("CA"), Identity::new("operator"));
    let brief = authority.issue("brief", URI);
    let setup = Setup::new().master("operator", &operator).echo();
    fs::write(setup.folder().join("ca.pem"), authority.pem()).unwrap();
    let client = format!(
        "[identity]\nauthorities = [\"ca.pem\"]\n[clients.brief]\nuris = [\"{URI}\"]\ncommands = [\"echo\"]"
    );
    let server = setup.section(&client).start();
    let (mut operator, mut connection) = (server.connect(&operator), server.connect(&brief));
    let end = expire(&server, &mut operator, Duration::from_secs(3));
    assert_eq!(connection.ask("echo on"), "on");
    is_cut_off_after(end, &mut connection, "cannot be used: its client expired at ");
    assert!(refusal(&server, &brief).contains("cannot be used: its client expired at "));
}

#[test]
fn an_earlier_expiry_holds_even_if_the_reload_then_fails_and_a_later_one_does_not() {
    let far = "expires = 2999-01-01T00:00:00Z";
    let (server, brief, mut operator) = with_brief(far);
    let mut connection = server.connect(&brief);
    fs::write(server.folder().join("broken.wasm"), "no component").unwrap();
    let broken = "[plugins.broken]\ncomponent = \"broken.wasm\"\n";
    server.edit(|text| text.replace(far, "") + broken);
    let failure = operator.ask_framed("@reload");
    assert!(!failure.message.contains("expires"), "nothing is taken away: {}", failure.message);
    assert_eq!(connection.ask("echo on"), "on");
    server.edit(|text| text.replace("[clients.brief]\n", &format!("[clients.brief]\n{PAST}\n")));
    let failure = operator.ask_framed("@reload");
    assert_eq!(failure.failure().0, "conflict");
    assert!(failure.message.contains("clients.brief.expires changed"), "{}", failure.message);
    is_cut_off(&mut connection, "its client expired at 2021-01-01T00:00:00Z");
    // Another failure does not extend what the first has ended.
    server.edit(|text| text.replace(PAST, ""));
    assert_eq!(operator.ask_framed("@reload").failure().0, "conflict");
    assert!(refusal(&server, &brief).contains("its client expired at "));
    server.edit(|text| text.replace(broken, ""));
    operator.ask("@reload");
    assert_eq!(server.connect(&brief).ask("echo in"), "in");
}

#[test]
fn an_expiry_is_told_from_two_weeks_before() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let setup = ["past", "soon", "later", "never"].iter().fold(Setup::new(), |setup, name| {
        setup.master(name, &Identity::new(name)).section(
            match *name {
                "past" => PAST.to_owned(),
                "soon" => format!("expires = {}", from_now(9 * DAY + Duration::from_secs(60))),
                "later" => format!("expires = {}", from_now(15 * DAY)),
                _ => String::new(),
            }
            .as_str(),
        )
    });
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let told: Vec<_> = checked.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [past, soon] = told[..] else { panic!("{checked:?}") };
    assert_eq!(past, "warning: the admission of the client past expired at 2021-01-01T00:00:00Z");
    assert!(soon.starts_with("warning: the admission of the client soon ends in 9 days, at 20"), "{soon}");
    assert_eq!(checked.stderr.matches("write a later `expires` into its section").count(), 2, "{checked:?}");
    let asked = |arguments: &[&str]| finish(lictor(setup.folder()).arg("check").args(arguments));
    let past = asked(&["--as", "past", "@ping"]);
    assert_eq!(past.code, Some(1), "{past:?}");
    assert!(past.stdout.contains("past expired at 2021-01-01T00:00:00Z"), "{past:?}");
    let may = asked(&["--who", "@ping"]).stdout;
    let names: Vec<_> = may.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["later", "never", "soon"]);
    assert!(
        checked.stdout.contains("client past: 1 certificate(s), expires 2021-01-01T00:00:00Z, may run *")
    );
}
