//! A server to which everything happens that alerts and the dashboard tell of.

use std::io::{Read, Write};
use std::time::Duration;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls, tcp};
use testkit::components;
use testkit::server::{Server, Setup};

use crate::expires::from_now;

/// Prepares the server, with a client `tester` whose certificate is in its folder.
pub fn eventful() -> Setup {
    let setup = Setup::new();
    let tester = Identity::new("tester");
    tester.write(setup.folder(), "tester");
    let setup = setup.client("tester", &tester, &["echo"]);
    let setup = setup.section("[clients.tester.limits]\nrequests_per_second = 5");
    let guest = Identity::new("guest");
    guest.write(setup.folder(), "guest");
    let until = from_now(Duration::from_secs(24 * 3600));
    let setup = setup.client("guest", &guest, &["@ping"]).section(&format!("report_until = {until}"));
    let setup = setup.plugin("echo", components::echo(), &["echo"], "instances = \"shared\"\nmax_calls = 9");
    let setup = setup.hostile("timeout = \"1s\"\ncpu_time = \"20ms\"\nmemory = \"4MiB\"\nconcurrency = 1");
    let grants = "store_keys = 1\n[plugins.kv.grants]\nkeyvalue = [\"default\"]";
    let setup = setup.plugin("kv", components::kv(), &["kv-set", "kv-get"], grants);
    let setup = setup.section("[state]\nengine = \"sqlite\"\npath = \"state.db\"");
    setup.section("[limits]\nqueue = 8")
}

/// Lets all of it happen once.
pub fn trouble(server: &Server, operator: &Identity) {
    let mut connection = server.connect(operator);
    connection.ask_all(&[("echo hello", ""); 20]);
    for command in
        ["kv-set a 1", "kv-set b 2", "kv-get a", "trap", "spin", "alloc 60000000", "fail conflict no"]
    {
        connection.ask(command);
    }
    assert_eq!(connection.ask_framed("sleep 900\r\nTimeout-Ms: 20").failure().0, "timeout");
    // One runs, some wait, and some are refused.
    let frames = connection.ask_all(&[("sleep 5", ""); 40]);
    assert!(frames.iter().any(|frame| frame.status == "OK"));
    assert!(frames.iter().any(|frame| frame.status == "ERR" && frame.failure().0 == "busy"));
    connection.ask("nosuch");
    connection.ask("@reload");
    let mut tester = server.connect(&Identity::read(server.folder(), "tester"));
    assert!(tester.ask("trap").starts_with("ERR "));
    let frames = tester.ask_all(&[("echo a", ""); 20]);
    assert!(frames.iter().any(|frame| frame.status == "ERR" && frame.failure().0 == "rate-limited"));
    let mut guest = server.connect(&Identity::read(server.folder(), "guest"));
    assert_eq!(guest.ask("echo more"), "more");
    strangers(server);
}

fn strangers(server: &Server) {
    for tls in [Tls::anonymous(), Tls::showing(&Identity::new("stranger"))] {
        Connection::open(server.address(), tls).unwrap().read_to_end();
    }
    let mut stream = tcp(server.address());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}
