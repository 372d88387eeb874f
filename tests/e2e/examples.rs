//! The plugins that come with Lictor, each at its purpose. `echo` is used throughout the other tests.

use std::path::Path;

use tempfile::TempDir;
use testkit::certs::Identity;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::web::Web;

const KV: [&str; 5] = ["kv-get", "kv-set", "kv-delete", "kv-increment", "kv-list"];

fn kv(state: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).plugin("kv", components::kv(), &KV, "");
    let grants = format!("[plugins.kv.grants]\nkeyvalue = [\"default\"]\n[state]\n{state}");
    (setup.section(&grants).start(), tester)
}

#[test]
fn kv_keeps_values_under_keys() {
    let (server, tester) = kv("engine = \"memory\"");
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask_framed("kv-get colour").failure(), ("not-found", "failed"));
    let version: u64 = connection.ask("kv-set colour \"blue ☃\"").parse().unwrap();
    assert_eq!(connection.ask("kv-get colour"), "blue ☃");
    assert_ne!(connection.ask("kv-set colour red").parse(), Ok(version));
    assert_eq!(connection.ask("kv-increment visits"), "1");
    assert_eq!(connection.ask("kv-increment visits 41"), "42");
    assert_eq!(connection.ask_framed("kv-increment colour").failure(), ("plugin-failed", "failed"));
    connection.send(b"kv-set large -\r\nSequence: a\r\nSize: 6\r\n\r\na\0b\r\n\xff");
    assert_eq!(connection.read_frame().status, "OK");
    assert_eq!(connection.ask_framed("kv-get large").body, b"a\0b\r\n\xff", "a body may be any bytes");
    assert_eq!(connection.ask("kv-list"), "colour\nlarge\nvisits");
    assert_eq!(connection.ask("kv-list v"), "visits");
    assert_eq!(connection.ask("kv-delete colour large nothing"), "2");
    assert_eq!(connection.ask_framed("kv-delete colour").failure(), ("not-found", "failed"));
    connection.ask("kv-set soon gone 1ms");
    eventually("it expires", || (connection.ask("kv-list") == "visits").then_some(()));
    let wrong = connection.ask_framed("kv-set a b soon");
    assert_eq!(wrong.failure(), ("bad-arguments", "failed"));
    assert!(wrong.message.contains("usage: kv-set KEY VALUE [EXPIRES-AFTER]"), "{wrong:?}");
    let help = connection.ask("@commands");
    assert!(help.contains("kv-increment KEY [BY]"), "{help}");
}

#[test]
fn kv_keeps_them_over_a_restart() {
    let folder = TempDir::new().unwrap();
    let state = format!("engine = \"sqlite\"\npath = {:?}", folder.path().join("kv.db"));
    let (server, tester) = kv(&state);
    server.connect(&tester).ask("kv-set kept yes");
    drop(server);
    let (server, tester) = kv(&state);
    assert_eq!(server.connect(&tester).ask("kv-get kept"), "yes");
}

const CHECK: [&str; 4] = ["check-load", "check-memory", "check-disk", "check-http"];

fn check(df: &Path, http: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).plugin("check", components::check(), &CHECK, "");
    let grants = format!(
        "[plugins.check.config]\ndf = {df:?}\n[plugins.check.grants]\n\
         files = [\"/proc/loadavg\", \"/proc/meminfo\", {df:?}]\nhttp = {http}"
    );
    (setup.section(&grants).start(), tester)
}

const DF: &str = "\
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda         100000000 60000000  40000000      60% /
/dev/vdb           1000000   990000     10000      99% /mnt/a disk
";

#[test]
fn check_tells_what_monitoring_asks() {
    let folder = TempDir::new().unwrap();
    let df = folder.path().join("df");
    std::fs::write(&df, DF).unwrap();
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (server, tester) = check(&df, &format!("[{:?}]", web.url("")));
    let mut connection = server.connect(&tester);
    let mut says = |line: &str, state: &str, figures: &str| {
        let said = connection.ask(line);
        assert!(said.starts_with(&format!("{state} - ")), "{line}: {said}");
        assert!(said.split('|').nth(1).is_some_and(|data| data.contains(figures)), "{line}: {said}");
        said
    };
    says("check-load 10000,10000,10000 20000,20000,20000", "OK", "load1=");
    says("check-load 10000,10000,10000 @0:,@0:,@0:", "CRITICAL", "load15=");
    says("check-memory 100 100", "OK", "%");
    says("check-memory 0 100", "WARNING", "%");
    says("check-disk / 80 90", "OK", "60.0%;80.0;90.0");
    says("check-disk / 50 90", "WARNING", "60.0%;50.0;90.0");
    says("check-disk \"/mnt/a disk\" 80 90", "CRITICAL", "99.0%;80.0;90.0");
    says(&format!("check-http {} 60 120", web.url("/")), "OK", "time=");
    assert!(connection.ask("check-disk /none 80 90").starts_with("UNKNOWN - "));
    let denied = connection.ask_framed("check-http http://127.0.0.1:1/ 60 120");
    assert_eq!(denied.failure(), ("denied", "failed"));
    let wrong = connection.ask_framed("check-load 1,2 3,4,5");
    assert_eq!(wrong.failure(), ("bad-arguments", "failed"));
}

#[test]
fn check_without_the_network_checks_the_rest() {
    let folder = TempDir::new().unwrap();
    let df = folder.path().join("df");
    std::fs::write(&df, DF).unwrap();
    let (server, tester) = check(&df, "[]");
    let mut connection = server.connect(&tester);
    assert!(connection.ask("check-disk / 80 90").starts_with("OK - "));
    assert_eq!(connection.ask_framed("check-http http://127.0.0.1:1/").failure(), ("denied", "failed"));
}
