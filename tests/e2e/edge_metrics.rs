//! Metrics of connections, the config and the state.

use std::fs;
use std::io::{Read, Write};
use std::time::SystemTime;

use testkit::certs::Identity;
use testkit::client::{Connection, Tls, tcp};
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::finish;

use crate::metrics::samples;

fn start() -> (Server, Connection) {
    let operator = Identity::new("operator");
    let setup = Setup::new().master("operator", &operator).echo();
    let setup = setup.plugin(
        "kv",
        components::kv(),
        &["kv-set", "kv-get"],
        "[plugins.kv.grants]\nkeyvalue = [\"default\"]",
    );
    let server = setup.section("[state]\nengine = \"sqlite\"\npath = \"state.db\"").start();
    let connection = server.connect(&operator);
    (server, connection)
}

#[test]
fn handshakes_are_counted_by_their_end() {
    let (server, mut operator) = start();
    let count = |operator: &mut Connection, result: &str, reason: &str| {
        samples(operator)[&format!("lictor_handshakes_total{{result=\"{result}\",reason=\"{reason}\"}}")]
    };
    assert_eq!(count(&mut operator, "admitted", "pin"), 1.0);
    let sends = |bytes: &[u8]| {
        let mut stream = tcp(server.address());
        stream.write_all(bytes).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    };
    drop(Connection::open(server.address(), Tls::anonymous()));
    drop(Connection::open(server.address(), Tls::showing(&Identity::new("stranger"))));
    sends(b"GET / HTTP/1.1\r\n\r\n");
    sends(b"\x16\x03\x01\0\x2d\x01\0\0\x29\x03\x01 and so on, for more than a record has, which is 45 bytes");
    drop(tcp(server.address()));
    for (result, reason) in [
        ("refused", "no-certificate"),
        ("refused", "unknown"),
        ("failed", "not-tls"),
        ("failed", "old-tls"),
        ("failed", "silent"),
    ] {
        eventually(reason, || (count(&mut operator, result, reason) == 1.0).then_some(()));
    }
    assert_eq!(count(&mut operator, "admitted", "pin"), 1.0);
}

#[test]
fn bytes_are_counted_in_both_directions() {
    let (_server, mut operator) = start();
    let bytes = |operator: &mut Connection| {
        let samples = samples(operator);
        ["received", "sent"].map(|way| samples[&format!("lictor_{way}_bytes_total")])
    };
    let before = bytes(&mut operator);
    assert_eq!(operator.ask(&format!("echo {}", "x".repeat(5000))).len(), 5000);
    let after = bytes(&mut operator);
    assert_eq!(after[0] - before[0], ("echo ".len() + 5000 + "@status metrics".len() + 2 * 4) as f64);
    assert!(after[1] - before[1] > 5000.0);
}

#[test]
fn the_config_in_force_is_told_by_its_hash() {
    let (server, mut operator) = start();
    let sha256 = || {
        let output = finish(std::process::Command::new("sha256sum").arg(server.config()));
        output.stdout.split(' ').next().unwrap().to_owned()
    };
    let in_force = |operator: &mut Connection, sha256: &str| {
        samples(operator).contains_key(&format!("lictor_config_info{{sha256=\"{sha256}\"}}"))
    };
    let told = |operator: &mut Connection, outcome: &str| {
        samples(operator)[&format!("lictor_config_reloads_total{{outcome=\"{outcome}\"}}")]
    };
    let since = |operator: &mut Connection| samples(operator)["lictor_config_last_reload_timestamp_seconds"];
    let (first, began) = (sha256(), since(&mut operator));
    assert!(in_force(&mut operator, &first));
    assert!(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() - began < 600.0);
    let changed = |operator: &mut Connection| samples(operator)["lictor_config_changed_files"];
    let is_good = |operator: &mut Connection| samples(operator)["lictor_config_last_reload_successful"];
    assert_eq!((changed(&mut operator), is_good(&mut operator)), (0.0, 1.0));
    server.edit(|text| text + "# a comment\n");
    assert!(in_force(&mut operator, &first), "it is not in force yet");
    assert_eq!((changed(&mut operator), is_good(&mut operator)), (1.0, 1.0));
    operator.ask("@reload");
    assert_eq!(changed(&mut operator), 0.0);
    let second = sha256();
    assert!(in_force(&mut operator, &second) && !in_force(&mut operator, &first));
    assert!(since(&mut operator) > began);
    server.edit(|text| text + "[nosuch]\n");
    assert!(operator.ask("@reload").starts_with("ERR "));
    assert!(in_force(&mut operator, &second));
    assert_eq!((changed(&mut operator), is_good(&mut operator)), (1.0, 0.0));
    assert_eq!(["done", "failed", "superseded"].map(|outcome| told(&mut operator, outcome)), [1.0, 1.0, 0.0]);
}

/// The files that it includes count as well.
#[test]
fn the_hash_is_of_all_files_of_the_config() {
    let operator = Identity::new("operator");
    let setup = Setup::new().master("operator", &operator).top("include = [\"conf.d/*.toml\"]");
    fs::create_dir(setup.folder().join("conf.d")).unwrap();
    for name in ["b", "a"] {
        let text = format!("[roles.{name}]\ncommands = [\"@ping\"]\n");
        fs::write(setup.folder().join(format!("conf.d/{name}.toml")), text).unwrap();
    }
    let server = setup.start();
    let command = "cat server.toml conf.d/*.toml | sha256sum";
    let output = finish(std::process::Command::new("sh").args(["-c", command]).current_dir(server.folder()));
    let sha256 = output.stdout.split(' ').next().unwrap();
    let mut operator = server.connect(&operator);
    assert!(samples(&mut operator).contains_key(&format!("lictor_config_info{{sha256=\"{sha256}\"}}")));
}

#[test]
fn ends_of_certificates_are_told() {
    let (_server, mut operator) = start();
    let samples = samples(&mut operator);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let ends = |start: &str| {
        let start = format!("lictor_certificate_end_timestamp_seconds{{{start}");
        samples.iter().find(|(name, _)| name.starts_with(&start)).map(|(_, end)| *end).unwrap()
    };
    assert!(ends("kind=\"server\",name=\"") > now);
    assert!(ends("kind=\"client\",name=\"operator\"}") > now);
}

#[test]
fn operations_on_the_state_are_counted() {
    let (_server, mut operator) = start();
    let value = |operator: &mut Connection, name: &str| samples(operator)[name];
    let reads = "lictor_state_operations_total{operation=\"read\"}";
    let writes = "lictor_state_operations_total{operation=\"write\"}";
    let (before, opened) = (value(&mut operator, reads), value(&mut operator, writes));
    operator.ask("kv-set a 1");
    operator.ask("kv-get a");
    assert_eq!(value(&mut operator, writes), opened + 1.0);
    assert_eq!(value(&mut operator, reads), before + 1.0);
    assert_eq!(value(&mut operator, "lictor_state_write_duration_seconds_count"), opened + 1.0);
    assert!(value(&mut operator, "lictor_state_commits_total") >= 1.0);
    assert!(value(&mut operator, "lictor_state_file_bytes") >= 4096.0);
}
