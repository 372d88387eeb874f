//! A config reloaded while clients are served: all of it applies or nothing, and no request is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::{Entry, Server, Setup};
use testkit::tools::{finish, lictor};

/// Makes a component that answers with this letter and a `k`.
fn version(folder: &Path, name: &str, letter: char) -> PathBuf {
    let instructions = format!("(i32.store8 (i32.const 30016) (i32.const {}))", u32::from(letter));
    Minimal::new(&["version"]).handling_by(&instructions).write(folder, name)
}

fn with_echo() -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().hostile("").start();
    (server, tester)
}

/// Asserts that the connection is closed within about a second, after these words.
#[track_caller]
pub fn is_cut_off(connection: &mut Connection, words: &str) {
    is_cut_off_after(Instant::now(), connection, words);
}

/// Does the same for an end that is due at `begun`.
#[track_caller]
pub fn is_cut_off_after(begun: Instant, connection: &mut Connection, words: &str) {
    let (bytes, _) = connection.read_to_end();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&bytes);
    let last = text.trim_end_matches("\r\n").rsplit("\r\n\r\n").next().unwrap_or_default();
    assert!(last.starts_with("ERR ") && last.contains(words), "{text:?}");
}

#[test]
fn an_operator_reloads_and_is_told_what_changed() {
    let (server, tester) = with_echo();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("@reload"), "nothing has changed");
    let other = Identity::new("other");
    server.edit(|text| {
        text + &format!("[clients.other]\nthumbprints = [\"{}\"]\ncommands = [\"echo\"]\n", other.sha256())
            + "[limits]\nbody = \"2MiB\"\nqueue = 17\n"
    });
    let told = connection.ask_framed("@reload");
    let lines: Vec<&str> = told.text().lines().collect();
    assert_eq!(
        lines,
        [
            "live     changed  limits.body",
            "restart  changed  limits.queue",
            "live     added    clients.other"
        ]
    );
    assert_eq!(server.connect(&other).ask("echo in"), "in");
    let status = connection.ask("@status");
    assert!(
        status.contains("reloads 2 done, 0 failed") && status.contains("waiting for a restart: limits.queue"),
        "{status}"
    );
    // The connection goes on, with the new body limit as well.
    connection.send(format!("echo\r\nSequence: b\r\nSize: 1500000\r\n\r\n{}", "x".repeat(1_500_000)));
    assert_eq!(
        connection.read_frame().failure().0,
        "plugin-limit",
        "the body was taken, the reply is too long"
    );
}

#[test]
fn sighup_and_the_command_line_reload_as_well() {
    let (server, tester) = with_echo();
    let other = Identity::new("other");
    server.edit(|text| {
        text + &format!("[clients.other]\nthumbprints = [\"{}\"]\ncommands = [\"echo\"]\n", other.sha256())
    });
    server.signal("HUP");
    server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    assert_eq!(server.connect(&other).ask("echo in"), "in");

    tester.write(server.folder(), "tester");
    let address = server.address().to_string();
    let run = |verb: &str| {
        let pin = fs::read(server.folder().join("server.pem")).map(|_| server_pin(&server)).unwrap();
        let options = ["--server", &address, "--cert", "tester.pem", "--pin", &pin];
        finish(lictor(server.folder()).arg(verb).args(options))
    };
    let reloaded = run("reload");
    assert_eq!((reloaded.code, reloaded.stdout.as_str()), (Some(0), "nothing has changed\n"), "{reloaded:?}");
    let status = run("status");
    assert!(status.stdout.contains("reloads 2 done"), "{status:?}");
    server.edit(|text| text.replace("[server]", "[sever]"));
    let refused = run("reload");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("nothing was changed"), "{refused:?}");
}

fn server_pin(server: &Server) -> String {
    let thumbprint = finish(lictor(server.folder()).args(["cert", "thumbprint", "server.pem"]));
    let line = thumbprint
        .stdout
        .lines()
        .find(|line| line.to_lowercase().contains("sha-256") || line.to_lowercase().contains("sha256"));
    let line = line.unwrap_or_else(|| panic!("{thumbprint:?}"));
    line.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64).expect("a SHA-256").to_owned()
}

#[test]
fn a_fault_anywhere_leaves_everything_as_it_was() {
    let (server, tester) = with_echo();
    let mut connection = server.connect(&tester);
    let whole = fs::read_to_string(server.config()).unwrap();
    let no_component = format!("{whole}[plugins.new]\ncomponent = \"none.wasm\"\n");
    fs::write(server.folder().join("text.wasm"), "hello").unwrap();
    let bad_component = format!("{whole}[plugins.new]\ncomponent = \"text.wasm\"\n");
    let bad_certificate = whole.replace("server.key", "tester.key");
    tester.write(server.folder(), "tester");
    let without_client =
        whole.replace("[clients.tester]", "[clients.other]").replace("[plugins.echo]", "[plugin.echo]");
    let faults = [no_component, bad_component, bad_certificate, without_client, "x".to_owned()];
    for (number, fault) in faults.iter().enumerate() {
        server.edit(|_| fault.clone());
        let told = connection.ask_framed("@reload");
        assert_eq!(told.failure(), ("conflict", "failed"), "{told:?}");
        assert!(told.message.contains("nothing was changed"), "{told:?}");
        let status = connection.ask("@status");
        assert!(status.contains(&format!("{} failed", number + 1)), "{status}");
        assert!(status.contains("the last reload failed"), "{status}");
        assert_eq!(connection.ask("echo still"), "still");
        assert_eq!(server.connect(&tester).ask("echo new"), "new");
    }
    server.edit(|_| whole);
    assert_eq!(connection.ask("@reload"), "nothing has changed");
    assert!(!connection.ask("@status").contains("the last reload failed"));
}

#[test]
fn a_component_that_is_replaced_serves_what_begins_after() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).hostile("timeout = \"5s\"");
    let component = version(setup.folder(), "guest", 'A');
    let server = setup.plugin("guest", &component, &["version"], "").start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("version"), "Ak");
    connection.send("sleep 600\r\nSequence: old\r\n\r\n");
    version(server.folder(), "guest", 'B');
    assert_eq!(connection.ask("@reload"), "live     changed  plugins.guest.component");
    assert_eq!(connection.ask("version"), "Bk");
    assert_eq!(connection.read_frame().text(), "slept");
    assert_eq!(connection.ask("@reload"), "nothing has changed");
}

#[test]
fn a_client_that_is_removed_is_cut_off_and_its_commands_are_stopped() {
    let (server, tester) = with_echo();
    let laptop = Identity::new("laptop");
    let entry = format!("[clients.laptop]\nthumbprints = [\"{}\"]\ncommands = [\"*\"]\n", laptop.sha256());
    server.edit(|text| text + &entry);
    let mut operator = server.connect(&tester);
    operator.ask("@reload");
    let (mut idle, mut busy) = (server.connect(&laptop), server.connect(&laptop));
    busy.send("sleep 4000\r\nSequence: s\r\n\r\n");
    assert_eq!(idle.ask("echo a"), "a");
    server.edit(|text| text.replace(&entry, ""));
    assert_eq!(operator.ask("@reload"), "live     removed  clients.laptop");
    is_cut_off(&mut idle, "is unknown");
    let stopped = busy.read_frame();
    assert_eq!(stopped.failure(), ("cancelled", "unknown"), "{stopped:?}");
    is_cut_off(&mut busy, "is unknown");
    assert!(
        Connection::open(server.address(), testkit::client::Tls::showing(&laptop))
            .is_ok_and(|mut c| !c.is_greeted())
    );
    server.wait_for_log("the reason", |entry| {
        entry.message() == "cut off" && entry.text("client") == Some("laptop")
    });
}

#[test]
fn a_permission_that_is_withdrawn_stops_what_runs_by_it_and_nothing_else() {
    let (server, tester) = with_echo();
    let laptop = Identity::new("laptop");
    let entry = |commands: &str| {
        format!("[clients.laptop]\nthumbprints = [\"{}\"]\ncommands = [{commands}]\n", laptop.sha256())
    };
    server.edit(|text| text + &entry("\"echo\", \"sleep\", \"body\""));
    let mut operator = server.connect(&tester);
    operator.ask("@reload");
    let mut connection = server.connect(&laptop);
    connection.send("sleep 4000\r\nSequence: s\r\n\r\nsleep 4000\r\n\r\nsleep 1\r\n\r\necho c\r\n\r\n");
    assert_eq!(connection.ask_framed("echo before").text(), "before");
    server.edit(|text| text.replace(&entry("\"echo\", \"sleep\", \"body\""), &entry("\"echo\"")));
    assert_eq!(operator.ask("@reload"), "live     changed  clients.laptop.commands");
    // Framed and plain replies may come in any order.
    let begun = Instant::now();
    let mut text = String::new();
    while !text.contains("\r\nc\r\n\r\n")
        || !text.contains("Sequence: s\r\nCode: cancelled\r\nOutcome: unknown\r\nSize: 0\r\n\r\n")
    {
        text.push_str(&String::from_utf8_lossy(&connection.read_bytes(1)));
        assert!(begun.elapsed() < Duration::from_secs(3), "{text}");
    }
    assert_eq!(text.matches("ERR The permission was withdrawn\r\n").count(), 2, "{text}");
    assert!(text.contains("ERR Command sleep is not allowed"), "{text}");
    assert_eq!(connection.ask("echo after"), "after");
}

#[test]
fn a_certificate_that_ends_takes_its_connections_along() {
    const VALID: Duration = Duration::from_secs(3);
    let (tester, end) = (Identity::new("tester"), Instant::now() + VALID);
    let brief = Identity::valid_for("brief", VALID);
    let server = Setup::new().master("tester", &tester).master("brief", &brief).echo().start();
    let mut connection = server.connect(&brief);
    assert_eq!(connection.ask("echo a"), "a");
    let clients = server.connect(&tester).ask("@clients");
    assert!(clients.contains("brief  connections 1") && clients.contains("for 0 days"), "{clients}");
    is_cut_off_after(end, &mut connection, "cannot be used: it expired at ");
}

#[test]
fn several_certificates_let_a_client_change_its_own() {
    let (server, tester) = with_echo();
    let (old, new) = (Identity::new("laptop"), Identity::new("laptop"));
    let pins = |pins: &[&Identity]| {
        let pins: Vec<_> = pins.iter().map(|identity| format!("\"{}\"", identity.sha256())).collect();
        format!("[clients.laptop]\nthumbprints = [{}]\ncommands = [\"*\"]\n", pins.join(", "))
    };
    let mut operator = server.connect(&tester);
    server.edit(|text| text + &pins(&[&old]));
    operator.ask("@reload");
    let mut with_old = server.connect(&old);
    server.edit(|text| text.replace(&pins(&[&old]), &pins(&[&old, &new])));
    operator.ask("@reload");
    let mut with_new = server.connect(&new);
    assert_eq!((with_old.ask("echo o").as_str(), with_new.ask("echo n").as_str()), ("o", "n"));
    server.edit(|text| text.replace(&pins(&[&old, &new]), &pins(&[&new])));
    operator.ask("@reload");
    is_cut_off(&mut with_old, "is unknown");
    assert_eq!(with_new.ask("echo n"), "n");
    // A certificate that becomes another client's gives the existing connection nothing of that client's.
    server.edit(|text| text.replace("[clients.laptop]", "[clients.desk]"));
    operator.ask("@reload");
    is_cut_off(&mut with_new, "is unknown");
    assert_eq!(server.connect(&new).ask("echo d"), "d");
}

#[test]
fn a_watched_file_reloads_by_itself() {
    let (tester, other) = (Identity::new("tester"), Identity::new("other"));
    let setup = Setup::new().server("watch = true").master("tester", &tester);
    let component = version(setup.folder(), "guest", 'A');
    let server = setup.plugin("guest", &component, &["version"], "").start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("version"), "Ak");
    version(server.folder(), "guest", 'B');
    eventually("the new version", || (connection.ask("version") == "Bk").then_some(()));
    server.edit(|text| {
        text + &format!("[clients.other]\nthumbprints = [\"{}\"]\ncommands = [\"version\"]\n", other.sha256())
    });
    server.wait_for_log("the client", |entry| {
        entry.text("changed").is_some_and(|keys| keys.contains("clients.other"))
    });
    assert_eq!(server.connect(&other).ask("version"), "Bk");
}

#[test]
fn who_is_cut_off_is_answered_in_the_order_of_the_requests() {
    let (server, tester) = with_echo();
    let (mut operator, mut victim) = (server.connect(&tester), server.connect(&tester));
    victim.send("sleep 4000\r\n\r\necho a\r\n\r\necho b\r\n\r\n");
    eventually("the requests", || operator.ask("@clients").contains("requests 3").then_some(()));
    operator.ask("@kick c2");
    let (bytes, _) = victim.read_to_end();
    let words =
        "ERR ended by an operator\r\n\r\n".repeat(3) + "ERR The connection was ended by an operator\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&bytes), words);
    let of_victim = |entry: &Entry| entry.message() == "command" && entry.text("connection") == Some("c2");
    server.wait_for_log("the last", |entry| of_victim(entry) && entry.text("request") == Some("c2-3"));
    let log = server.log();
    let order: Vec<_> =
        log.iter().filter(|entry| of_victim(entry)).map(|entry| entry.text("request")).collect();
    assert_eq!(order, [Some("c2-1"), Some("c2-2"), Some("c2-3")]);
}

#[test]
fn operators_end_connections_and_the_server() {
    let tester = Identity::new("tester");
    let mut server = Setup::new().master("tester", &tester).echo().start();
    let (mut operator, mut victim) = (server.connect(&tester), server.connect(&tester));
    assert_eq!(victim.ask("echo a"), "a");
    let plugins = operator.ask("@plugins");
    assert!(plugins.starts_with("echo  sha256 ") && plugins.ends_with("commands echo"), "{plugins}");
    let clients = operator.ask("@clients");
    assert!(clients.starts_with("tester  connections 2  last use 20"), "{clients}");
    assert_eq!(operator.ask("@kick c2"), "ending c2 of tester");
    is_cut_off(&mut victim, "ended by an operator");
    for (command, words) in
        [("@kick", "Usage"), ("@kick c999", "no connection c999"), ("@kick x", "no connection x")]
    {
        let reply = operator.ask(command);
        assert!(reply.starts_with("ERR ") && reply.contains(words), "{reply}");
    }
    assert_eq!(operator.ask("@drain"), "stopping");
    assert_eq!(server.wait(), Some(0));
}

/// Fifty clients, and two hundred reloads that swap a plugin's version, the server's certificate and
/// unrelated clients.
#[test]
fn under_load_no_request_is_lost_or_mixed_by_reloads() {
    const CLIENTS: usize = 50;
    const RELOADS: u32 = 200;
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let [a, b] = ['A', 'B'].map(|letter| version(setup.folder(), &format!("guest-{letter}"), letter));
    let server = setup.plugin("guest", &a, &["version"], "").start();
    let (a, b) = (format!("{a:?}"), format!("{b:?}"));
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut sizes = Vec::new();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = server.connect(&tester);
                while !is_over.load(Ordering::Relaxed) {
                    let frames = connection.ask_all(&[("version", ""); 8]);
                    for frame in &frames {
                        assert!(matches!(frame.text(), "Ak" | "Bk"), "{frame:?}");
                    }
                    answered.fetch_add(frames.len() as u64, Ordering::Relaxed);
                }
            });
        }
        let mut operator = server.connect(&tester);
        for number in 0..RELOADS {
            let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
            if number % 10 == 0 {
                Identity::of_server().write(server.folder(), "server");
            }
            let unrelated = Identity::new("unrelated").sha256();
            server.edit(|text| {
                let text = text.split("[clients.unrelated]").next().unwrap_or_default().replace(from, to);
                format!("{text}[clients.unrelated]\nthumbprints = [\"{unrelated}\"]\ncommands = []\n")
            });
            let told = operator.ask("@reload");
            assert!(told.contains("plugins.guest.component") && told.contains("clients.unrelated"), "{told}");
            assert_eq!(operator.ask("version"), if number % 2 == 0 { "Bk" } else { "Ak" });
            sizes.push(server.resident_kib());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > u64::from(RELOADS), "{answered:?}");
    let (early, late) = (sizes[RELOADS as usize / 4], sizes[RELOADS as usize - 1]);
    // A leaked config would be there 150 times.
    assert!(late < early + early / 4, "{early} KiB became {late} KiB");
    let status = server.connect(&tester).ask("@status");
    assert!(status.contains(&format!("reloads {RELOADS} done, 0 failed")), "{status}");
}
