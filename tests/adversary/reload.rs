//! Operators who remove something while plugins and clients block as much as they can.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use testkit::certs::Identity;
use testkit::client::{Connection, Tls};
use testkit::components::{self, Minimal};
use testkit::server::{Entry, Server, Setup};
use testkit::{PATIENCE, eventually, let_pass};

use crate::files::set_mode;

/// Keys of a plugin whose `describe` does not return: its timeout is longer than any test waits.
pub const LOADING: &str = "timeout = \"5m\"\nmemory = \"1MiB\"";

/// One second, as documented, plus the delay of a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Makes a plugin that computes for all of its time while it is loaded.
pub fn slow(folder: &Path) -> PathBuf {
    Minimal::new(&["slow"]).describing_by("(loop $l (br $l))").write(folder, "slow")
}

/// Makes a plugin that computes for some seconds while it is loaded.
pub fn ends_late(folder: &Path) -> PathBuf {
    let describing = "(local $i i64) (loop $l (br_if $l (i64.lt_u \
                      (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 3000000000))))";
    Minimal::new(&["late"]).describing_by(describing).write(folder, "late")
}

/// Returns the section that loads it.
pub fn loading(server: &Server) -> String {
    format!("[plugins.slow]\ncomponent = {:?}\n{LOADING}\n", slow(server.folder()))
}

fn client(name: &str, identity: &Identity, commands: &str) -> String {
    format!("[clients.{name}]\nthumbprints = [\"{}\"]\ncommands = [{commands}]\n", identity.sha256())
}

/// Starts a reload that does not end, and waits until it loads.
pub fn begin_reload(server: &Server, operator: &mut Connection) {
    server.signal("HUP");
    eventually("the plugin to be loaded", || {
        operator.ask("@status").contains("because of SIGHUP: loading plugin slow").then_some(())
    });
}

#[track_caller]
pub fn is_cut_off(connection: &mut Connection, words: &str) {
    let begun = Instant::now();
    let (bytes, _) = connection.read_to_end();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(words), "{text:?}");
}

fn is_admitted(server: &Server, identity: &Identity) -> bool {
    Connection::open(server.address(), Tls::showing(identity)).is_ok_and(|mut c| c.is_greeted())
}

fn with_clients(setup: Setup, clients: &[(&str, &Identity, &str)]) -> Setup {
    clients
        .iter()
        .fold(setup, |setup, (name, identity, commands)| setup.section(&client(name, identity, commands)))
}

#[test]
fn what_is_taken_away_is_gone_before_a_plugin_is_loaded_and_what_is_added_is_not_there() {
    let [tester, bob, carl, dora] = ["tester", "bob", "carl", "dora"].map(Identity::new);
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    let clients = [("bob", &bob, "\"*\""), ("carl", &carl, "\"echo\", \"sleep\"")];
    let extra = Minimal::new(&["extra"]).write(setup.folder(), "extra");
    let server = with_clients(setup, &clients).plugin("extra", &extra, &["extra"], "").start();
    let mut operator = server.connect(&tester);
    let (mut of_bob, mut of_carl) = (server.connect(&bob), server.connect(&carl));
    assert_eq!((of_bob.ask("extra"), of_carl.ask("echo a")), ("ok".into(), "a".into()));
    of_carl.send("sleep 600000\r\nSequence: s\r\n\r\n");
    let slow = loading(&server);
    server.edit(|text| {
        let text = text
            .replace(&client("bob", &bob, "\"*\""), "")
            .replace("\"echo\", \"sleep\"", "\"extra-*\", \"echo\"");
        let text = text.split("[plugins.extra]").next().unwrap().to_owned();
        text + &slow + &client("dora", &dora, "\"echo\"")
    });
    begin_reload(&server, &mut operator);
    is_cut_off(&mut of_bob, "is unknown");
    let withdrawn = of_carl.read_frame();
    assert_eq!(withdrawn.failure(), ("cancelled", "unknown"), "{withdrawn:?}");
    assert_eq!(of_carl.ask_framed("sleep 1").failure(), ("forbidden", "not-run"));
    assert_eq!(of_carl.ask("echo goes-on"), "goes-on");
    assert_eq!(operator.ask_framed("extra").failure(), ("unknown-command", "not-run"));
    assert!(!is_admitted(&server, &bob) && !is_admitted(&server, &dora) && is_admitted(&server, &carl));
    let status = operator.ask("@status");
    for key in ["clients.bob removed", "clients.carl.commands changed", "plugins.extra removed"] {
        assert!(status.contains(key), "{status}");
    }
    // Without the plugin all additions apply, and the abandoned reload does not count as failed.
    server.edit(|text| text.replace(&slow, ""));
    assert!(operator.ask("@reload").contains("added    clients.dora"));
    assert!(is_admitted(&server, &dora));
    let status = operator.ask("@status");
    assert!(status.contains("reloads 1 done, 0 failed") && !status.contains("taken away"), "{status}");
}

#[test]
fn a_plugin_that_can_not_be_loaded_keeps_nobody_in() {
    let [tester, bob] = ["tester", "bob"].map(Identity::new);
    let setup = with_clients(Setup::new().master("tester", &tester).echo(), &[("bob", &bob, "\"*\"")]);
    let server = setup.start();
    let (mut operator, mut of_bob) = (server.connect(&tester), server.connect(&bob));
    let component = server.folder().join("broken.wasm");
    let broken = "[plugins.broken]\ncomponent = \"broken.wasm\"\n";
    let entry = client("bob", &bob, "\"*\"");
    let taken = "but what was taken away holds (clients.bob removed)";
    // The component is missing; then others may write to it.
    for _ in 0..2 {
        server.edit(|text| text.replace(&entry, "") + broken);
        assert!(operator.ask_framed("@reload").message.contains(taken));
        is_cut_off(&mut of_bob, "is unknown");
        server.edit(|text| text.replace(broken, "") + &entry);
        assert_eq!(operator.ask("@reload"), "live     added    clients.bob");
        of_bob = server.connect(&bob);
        std::fs::write(&component, "no component").unwrap();
        set_mode(&component, 0o666);
    }
    set_mode(&component, 0o644);
    server.edit(|text| text.replace(&entry, "") + broken);
    for narrowed in [taken, "and nothing was changed"] {
        let told = operator.ask_framed("@reload");
        assert_eq!(told.failure(), ("conflict", "failed"));
        assert!(told.message.contains(narrowed), "{told:?}");
        let status = operator.ask("@status");
        assert!(status.contains("since the last reload that succeeded: clients.bob removed"), "{status}");
    }
    is_cut_off(&mut of_bob, "is unknown");
    // An added client is admitted with the plugins or not at all, even one that is only put back.
    server.edit(|text| text + &entry);
    assert_eq!(operator.ask_framed("@reload").failure(), ("conflict", "failed"));
    assert!(!is_admitted(&server, &bob));
    server.edit(|text| text.replace(broken, ""));
    assert_eq!(operator.ask("@reload"), "live     added    clients.bob");
    assert!(is_admitted(&server, &bob));
}

#[test]
fn a_certificate_that_ends_while_a_plugin_is_loaded_is_cut_off() {
    let (tester, brief) = (Identity::new("tester"), Identity::valid_for("brief", Duration::from_secs(8)));
    let server = Setup::new().master("tester", &tester).master("brief", &brief).echo().start();
    let (mut operator, mut of_brief) = (server.connect(&tester), server.connect(&brief));
    let slow = loading(&server);
    server.edit(|text| text + &slow);
    begin_reload(&server, &mut operator);
    let (bytes, _) = of_brief.read_to_end();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("it expired at"), "{text}");
    assert!(operator.ask("@status").contains("loading plugin slow"));
}

/// Two clients hold both slots and nearly all memory of plugins.
#[test]
fn clients_that_hold_all_slots_and_all_memory_hold_up_no_reload() {
    let [tester, alice, bob] = ["tester", "alice", "bob"].map(Identity::new);
    let limits = "[limits]\nconcurrent_commands = 2\nconcurrent_commands_per_client = 1\nplugin_memory = \"61MiB\"\n\
                  queue = 2\nqueue_timeout = \"10m\"";
    let setup = Setup::new().master("tester", &tester).section(limits).hostile("timeout = \"9m\"");
    // 30 MiB each.
    let handling = "(drop (memory.grow (i32.const 480))) (loop $l (br $l))";
    let holder = Minimal::new(&["hold"]).handling_by(handling).write(setup.folder(), "holder");
    let setup = setup.plugin("holder", &holder, &["hold"], "timeout = \"10m\"");
    let server = with_clients(setup, &[("alice", &alice, "\"*\""), ("bob", &bob, "\"*\"")]).start();
    let mut holding = [server.connect(&alice), server.connect(&bob)];
    for connection in &mut holding {
        connection.send("hold\r\nSequence: s\r\n\r\nhold\r\nSequence: t\r\n\r\n");
    }
    let mut operator = server.connect(&tester);
    operator.send("body-size\r\nSequence: waits\r\nTimeout-Ms: 300\r\n\r\n");
    let waited = operator.read_frame();
    assert!(matches!(waited.failure().0, "timeout" | "busy"), "{waited:?}");
    server.edit(|text| text.replace("timeout = \"9m\"", "timeout = \"8m\""));
    let told = operator.ask("@reload");
    assert!(told.contains("plugins.hostile.timeout"), "{told}");
    // Removed clients release their slots and memory.
    let entries = [client("alice", &alice, "\"*\""), client("bob", &bob, "\"*\"")];
    server.edit(|text| entries.iter().fold(text, |text, entry| text.replace(entry, "")));
    assert!(operator.ask("@reload").contains("removed  clients.alice"));
    holding.iter_mut().for_each(|connection| is_cut_off(connection, "is unknown"));
    assert_eq!(operator.ask("body-size"), "0");
}

/// Starts a server with two plugins that run other commands in a loop: one in single replies, one in a
/// stream.
fn looping(tester: &Identity, alice: &Identity) -> Server {
    let keys = "timeout = \"10m\"\nhost_calls = 1000000000\nhost_bytes = \"64GiB\"";
    let setup = Setup::new().master("tester", tester).echo().hostile("timeout = \"10m\"");
    let setup = setup.section(&client("alice", alice, "\"echo\", \"sleep\", \"loop\", \"loop-streamed\""));
    let grants =
        |name: &str| format!("{keys}\n[plugins.{name}.grants]\nfiles = []\ncommands = [\"echo\", \"sleep\"]");
    let of_stream = format!("{keys}\n[plugins.relaying.grants]\ncommands = [\"echo\", \"sleep\"]");
    let setup = setup.plugin("reaching", components::reaching(), &["loop"], &grants("reaching"));
    setup.plugin("relaying", components::relaying(), &["loop-streamed"], &of_stream).start()
}

/// Starts the loops for alice, and waits until their commands run.
fn loop_for(server: &Server, alice: &Identity, inner: &str) -> [Connection; 2] {
    let runs = |via: &str| {
        let fits = |entry: &&Entry| entry.message() == "command" && entry.text("via") == Some(via);
        server.log().iter().filter(fits).count()
    };
    ["loop", "loop-streamed"].map(|outer| {
        let via = if outer == "loop" { "reaching" } else { "relaying" };
        let before = runs(via);
        let mut connection = server.connect(alice);
        connection.send(format!("{outer} {inner}\r\nSequence: o\r\n\r\n"));
        if inner.starts_with("echo") {
            eventually("the loop", || (runs(via) > before).then_some(()));
        }
        connection
    })
}

/// Returns the end of a loop, whether in one reply or in parts.
fn ended_with(connection: &mut Connection) -> String {
    let begun = Instant::now();
    let mut text = String::new();
    loop {
        let frame = connection.read_frame();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        text.push_str(&String::from_utf8_lossy(&frame.body));
        if frame.status != "PART" {
            assert_eq!(frame.status, "OK", "{frame:?}");
            return text;
        }
    }
}

#[test]
fn what_plugins_run_for_a_client_ends_with_its_permission_their_grant_or_the_plugin() {
    let [tester, alice] = ["tester", "alice"].map(Identity::new);
    let server = looping(&tester, &alice);
    let mut operator = server.connect(&tester);
    let whole = std::fs::read_to_string(server.config()).unwrap();
    let allowed = "commands = [\"echo\", \"sleep\", \"loop\", \"loop-streamed\"]";
    let granted = "commands = [\"echo\", \"sleep\"]";
    let without_plugin = |text: &str| {
        let echo = text.find("[plugins.echo]").unwrap();
        let next = text[echo + 1..].find("[plugins.").unwrap();
        text[..echo].to_owned() + &text[echo + 1 + next..]
    };
    let ways: [(&str, String, &[&str]); 3] = [
        (
            "echo x",
            whole.replace(allowed, "commands = [\"loop\", \"loop-streamed\"]"),
            &["forbidden: ", "cancelled: "],
        ),
        ("echo x", whole.replace(granted, "commands = []"), &["forbidden: ", "cancelled: "]),
        ("echo x", without_plugin(&whole), &["unknown-command: "]),
    ];
    for (inner, edited, codes) in ways {
        let loops = loop_for(&server, &alice, inner);
        server.edit(|_| edited.clone());
        operator.ask("@reload");
        for mut connection in loops {
            let ended = ended_with(&mut connection);
            assert!(codes.iter().any(|code| ended.starts_with(code)), "{ended}");
        }
        server.edit(|_| whole.clone());
        operator.ask("@reload");
    }
    // A command that is running at that moment is stopped too, however long it would take.
    let sleeping = loop_for(&server, &alice, "sleep 600000");
    eventually("both to sleep", || operator.ask("@clients").contains("requests 1  unused 1 s").then_some(()));
    server.edit(|text| text.replace(allowed, "commands = [\"loop\", \"loop-streamed\"]"));
    operator.ask("@reload");
    for mut connection in sleeping {
        assert_eq!(ended_with(&mut connection), "cancelled: The permission was withdrawn");
    }
    // The looping commands themselves need a permission too.
    server.edit(|_| whole.clone());
    operator.ask("@reload");
    let loops = loop_for(&server, &alice, "echo x");
    server.edit(|text| text.replace(allowed, "commands = [\"echo\"]"));
    operator.ask("@reload");
    for mut connection in loops {
        let withdrawn = connection.read_frame();
        assert_eq!(withdrawn.failure(), ("cancelled", "unknown"));
        assert_eq!(connection.ask("echo goes-on"), "goes-on");
    }
}

#[test]
fn a_newer_reload_supersedes_one_that_loads() {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().start();
    let (mut first, mut second) = (server.connect(&tester), server.connect(&tester));
    let slow = loading(&server);
    server.edit(|text| text + &slow);
    first.send("@reload\r\nSequence: r\r\n\r\n");
    eventually("the plugin to be loaded", || {
        second.ask("@status").contains("because of a command: loading plugin slow").then_some(())
    });
    server.edit(|text| text.replace(&slow, "[limits]\nbody = \"2MiB\"\n"));
    assert_eq!(second.ask("@reload"), "live     changed  limits.body");
    let superseded = first.read_frame();
    assert_eq!(superseded.failure(), ("conflict", "failed"));
    assert!(superseded.message.contains("superseded by a newer reload"), "{superseded:?}");
    let status = second.ask("@status");
    assert!(status.contains("reloads 1 done, 0 failed") && !status.contains("reloading"), "{status}");
}

#[test]
fn who_asks_for_reloads_without_end_is_taken_out_all_the_same() {
    let [tester, greedy] = ["tester", "greedy"].map(Identity::new);
    let server = Setup::new().master("tester", &tester).master("greedy", &greedy).echo().start();
    let mut of_greedy = server.connect(&greedy);
    let slow = loading(&server);
    let entry = client("greedy", &greedy, "\"*\", \"@*\"");
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for number in 0.. {
                let request = format!("@reload\r\nSequence: {number}\r\n\r\n");
                if of_greedy.try_send(request).is_err() {
                    return;
                }
            }
        });
        server.edit(|text| text.replace(&entry, "") + &slow);
        server.signal("HUP");
        eventually("greedy to be out", || (!is_admitted(&server, &greedy)).then_some(()));
        flood.join().unwrap();
    });
    assert_eq!(server.connect(&tester).ask("echo served"), "served");
}

#[test]
fn a_file_that_changes_all_the_time_puts_off_no_watched_change() {
    let [tester, removed] = ["tester", "removed"].map(Identity::new);
    let setup = Setup::new().server("watch = true").master("tester", &tester).echo();
    let (certificate, _) = removed.write(setup.folder(), "removed");
    let section = format!("[clients.removed]\ncertificates = [{certificate:?}]\ncommands = [\"echo\"]\n");
    let server = setup.section(&section).start();
    let mut connection = server.connect(&removed);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < 2 * PATIENCE {
                File::open(&certificate).unwrap().set_modified(SystemTime::now()).unwrap();
                let_pass(Duration::from_millis(20));
            }
        });
        server.edit(|text| text.replace(&section, ""));
        let (bytes, _) = connection.read_to_end();
        is_over.store(true, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("is unknown"), "{text:?}");
    });
}

/// The change comes each time before the plugin is loaded.
#[test]
fn a_file_that_changes_all_the_time_keeps_no_addition_away() {
    let [tester, added, busy] = ["tester", "added", "busy"].map(Identity::new);
    let setup = Setup::new().server("watch = true").master("tester", &tester).echo();
    let (certificate, _) = busy.write(setup.folder(), "busy");
    let section = format!("[clients.busy]\ncertificates = [{certificate:?}]\ncommands = [\"echo\"]\n");
    let server = setup.section(&section).start();
    let component = ends_late(server.folder());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < 4 * PATIENCE {
                busy.write(server.folder(), "busy");
                let_pass(Duration::from_millis(500));
            }
        });
        server.edit(|text| {
            let plugin = format!(
                "[plugins.late]\ncomponent = {component:?}\ncommands = [\"late\"]\ntimeout = \"1m\"\n"
            );
            text + &plugin + &client("added", &added, "\"late\"")
        });
        server.wait_for_log("a reload that gives way", |entry| {
            entry.message() == "superseded by a newer reload"
        });
        server.wait_for_log("the plugin", |entry| entry.message() == "reloaded");
        assert_eq!(server.connect(&added).ask("late"), "ok");
        // Removals wait for none of it.
        let mut connection = server.connect(&busy);
        server.edit(|text| text.replace(&section, ""));
        is_cut_off(&mut connection, "is unknown");
        is_over.store(true, Ordering::Relaxed);
    });
}
