//! Liveness and readiness: while the server starts, serves, is short of memory, and stops.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use testkit::certs::Identity;
use testkit::client::tcp;
use testkit::components::Minimal;
use testkit::eventually;
use testkit::server::Setup;
use testkit::tools::{lictor, text_of, wait};

use super::{addresses_in, ask, page, start, start_with, unix};

#[test]
fn a_server_that_serves_is_live_and_ready() {
    let (_server, _, loopback, health) = start();
    for address in [loopback, health] {
        for path in ["/livez", "/readyz", "/readyz?pretty=1"] {
            let response = page(address, path);
            assert_eq!((response.status, response.body.as_str()), (200, "ok\n"), "{path}");
            assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
        }
        for query in ["verbose", "verbose=1", "a&verbose"] {
            let list = page(address, &format!("/readyz?{query}")).body;
            let expected = "[+]listening ok\n[+]config ok\n[+]state ok\n[+]memory ok\n[+]drain ok\nreadyz check passed\n";
            assert_eq!(list, expected);
        }
        assert_eq!(page(address, "/livez?verbose").body, "[+]tasks ok\nlivez check passed\n");
    }
}

/// A server whose plugin takes for ever to load.
struct Starting {
    setup: Setup,
    child: Child,
}

impl Starting {
    fn new() -> Self {
        let setup = Setup::new();
        let slow = Minimal::new(&["slow"]).describing_by("(loop $on (br $on))").write(setup.folder(), "slow");
        let setup = setup.plugin("slow", &slow, &["slow"], "timeout = \"10m\"");
        let setup = setup.master("operator", &Identity::new("operator"));
        let setup = setup.section(
            "[admin]\nlisten = [\"unix:run/admin.sock\", \"127.0.0.1:0\"]\nhealth = [\"127.0.0.1:0\"]",
        );
        setup.write();
        let file = File::create(setup.folder().join("server.log")).unwrap();
        let mut command: Command = lictor(setup.folder());
        command.args(["serve", "--config", "server.toml"]).stdin(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap();
        Self { setup, child }
    }

    fn printed(&self) -> String {
        text_of(&self.setup.folder().join("server.log"))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_is_starting_is_live_and_not_ready() {
    let mut starting = Starting::new();
    let health = eventually("the listener", || addresses_in(&starting.printed(), "health").first().copied());
    let loopback = addresses_in(&starting.printed(), "metrics and health")[0];
    assert_eq!(page(health, "/livez").status, 200);
    let ready = page(health, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.starts_with("listening: the server is starting"), "{ready:?}");
    let list = page(loopback, "/readyz?verbose").body;
    assert!(
        list.starts_with("[-]listening failed: the server is starting: its plugins are being loaded\n"),
        "{list}"
    );
    assert!(list.contains("\n[+]drain ok\n") && list.ends_with("\nreadyz check failed\n"), "{list}");
    assert_eq!(page(loopback, "/metrics").status, 503);
    let socket = starting.setup.folder().join("run/admin.sock");
    let status = ask(&mut unix(&socket), "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").status;
    assert_eq!(status, 503);
    let sent = Command::new("kill").arg(starting.child.id().to_string()).status();
    assert!(sent.unwrap().success());
    assert_eq!(wait(&mut starting.child, "the server"), Some(0), "{}", starting.printed());
    assert!(!socket.exists(), "it was removed");
}

#[test]
fn a_server_that_stops_is_live_and_not_ready_until_its_end() {
    let setup = Setup::new().hostile("timeout = \"10m\"").server("drain_timeout = \"1h\"");
    let (mut server, operator, loopback, health) = start_with(setup);
    let mut running = server.connect(&operator);
    running.send("sleep 600000\r\nSequence: s\r\n\r\n");
    let mut kept = tcp(health);
    assert_eq!(ask(&mut kept, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    eventually("it to run", || {
        page(loopback, "/metrics").body.contains("\nlictor_connections 1\n").then_some(())
    });
    server.signal("TERM");
    let ready =
        eventually("the drain", || Some(page(health, "/readyz")).filter(|response| response.status == 503));
    assert_eq!(ready.body, "drain: the server is stopping\n");
    let list = ask(&mut kept, "GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        list.body.ends_with("[+]memory ok\n[-]drain failed: the server is stopping\nreadyz check failed\n")
    );
    assert_eq!(page(health, "/livez").status, 200);
    assert!(page(loopback, "/metrics").body.contains("\nlictor_draining 1\n"));
    let socket = server.folder().join("run/admin.sock");
    assert_eq!(ask(&mut unix(&socket), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    drop(running);
    assert_eq!(server.wait(), Some(0));
    assert!(!socket.exists(), "it was removed");
}

#[test]
fn a_server_that_is_short_of_memory_is_live_and_not_ready() {
    let setup = Setup::new().hostile("timeout = \"10m\"").section("[limits]\nprocess_memory = \"64GiB\"");
    let (server, identity, loopback, health) = start_with(setup);
    let mut operator = server.connect(&identity);
    // These alone are more than the least that can be set.
    let body = "b".repeat(1 << 20);
    let mut holders: Vec<_> = (0..40).map(|_| server.connect(&identity)).collect();
    for holder in &mut holders {
        holder.send(format!("sleep 600000\r\nSequence: s\r\nSize: {}\r\n\r\n{body}", body.len()));
    }
    eventually("the calls to hold it all", || (server.memory_kib("RssAnon:") > 40 << 10).then_some(()));
    server.edit(|text| text.replace("64GiB", "32MiB"));
    assert!(operator.ask("@reload").contains("limits.process_memory"));
    let ready = eventually("the mark", || Some(page(health, "/readyz")).filter(|it| it.status == 503));
    assert_eq!(ready.body, "memory: it is short: calls are refused\n");
    assert!(page(loopback, "/readyz?verbose").body.contains("\n[-]memory failed: it is short"), "for people");
    assert_eq!((page(health, "/livez").status, page(loopback, "/metrics").status), (200, 200));
    server.edit(|text| text.replace("32MiB", "64GiB"));
    operator.ask("@reload");
    eventually("relief", || (page(health, "/readyz").status == 200).then_some(()));
}
