//! Removals by a reload's new config apply before a plugin is loaded: proofs and grants of each kind.

use testkit::certs::{Authority, Identity};
use testkit::components;
use testkit::server::Setup;
use testkit::web::Web;

use crate::reload::{begin_reload, is_cut_off, loading};

#[test]
fn a_grant_that_is_taken_away_is_gone_before_a_plugin_is_loaded() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    std::fs::write(setup.folder().join("a.txt"), "a").unwrap();
    std::fs::write(setup.folder().join("b.txt"), "b").unwrap();
    let setup = setup.plugin("reaching", components::reaching(), &["read", "run"], "");
    let grants = "files = [\"a.txt\", \"b.txt\"]\ncommands = [\"echo\", \"read\"]";
    let server = setup.section(&format!("[plugins.reaching.grants]\n{grants}")).start();
    let mut operator = server.connect(&tester);
    assert_eq!((operator.ask("read a.txt"), operator.ask("run echo x")), ("a".into(), "x".into()));
    let slow = loading(&server);
    server.edit(|text| text.replace(grants, "files = [\"b.txt\", \"c.txt\"]\ncommands = [\"read\"]") + &slow);
    begin_reload(&server, &mut operator);
    assert_eq!(operator.ask_framed("read a.txt").failure(), ("denied", "failed"));
    assert_eq!(operator.ask("read b.txt"), "b");
    assert_eq!(operator.ask_framed("read c.txt").failure(), ("denied", "failed"));
    assert_eq!(operator.ask("run read b.txt"), "b");
    assert!(operator.ask("run echo x").starts_with("forbidden: "));
}

#[test]
fn a_grant_of_any_other_kind_is_gone_before_a_plugin_is_loaded_too() {
    let (tester, web) = (Identity::new("tester"), Web::answering("HTTP/1.1 204 None\r\n\r\n"));
    let mut setup = Setup::new().master("tester", &tester).section("[state]\nengine = \"memory\"");
    std::fs::create_dir(setup.folder().join("data")).unwrap();
    std::fs::write(setup.folder().join("data/a.txt"), "a").unwrap();
    let http = format!("http = [{:?}]", web.url(""));
    let fetch = format!("fetch GET {}", web.url("/"));
    let kinds = [
        (components::stateful(), "keyvalue = [\"default\"]", "kv-exists default k", "false", "denied"),
        (components::folders(), "directories = { \"/data\" = \"data\" }", "list /data", "a.txt", "NotFound"),
        (components::web(), &http, &fetch, "204\n", "HttpRequestDenied"),
        (components::announcing(), "events = [\"jobs\"]", "announce jobs", "0", "denied"),
    ];
    for (number, (component, grant, command, ..)) in kinds.iter().enumerate() {
        let name = format!("p{number}");
        let command = command.split(' ').next().unwrap();
        setup = setup.plugin(&name, component, &[command], "");
        setup = setup.section(&format!("[plugins.{name}.grants]\n{grant}"));
    }
    let server = setup.start();
    let mut operator = server.connect(&tester);
    for (_, grant, command, granted, _) in &kinds {
        let frame = operator.ask_framed(command);
        assert!(frame.status == "OK" && frame.text().starts_with(granted), "{grant}: {frame:?}");
    }
    let slow = loading(&server);
    server.edit(|text| {
        kinds.iter().fold(text, |text, (_, grant, ..)| {
            let (key, list) = grant.split_once(" = ").unwrap();
            let none = if list.starts_with('[') { "[]" } else { "{}" };
            text.replace(grant, &format!("{key} = {none}"))
        }) + &slow
    });
    begin_reload(&server, &mut operator);
    for (_, grant, command, _, told) in &kinds {
        let frame = operator.ask_framed(command);
        assert_eq!(frame.status, "ERR", "{grant}: {frame:?}");
        assert!(frame.failure().0 == *told || frame.message.contains(told), "{grant}: {frame:?}");
    }
    assert_eq!(web.seen().len(), 1);
}

#[test]
fn a_proof_that_is_taken_away_is_gone_before_a_plugin_is_loaded() {
    let [tester, old, new] = ["tester", "old", "new"].map(Identity::new);
    let (gone, root) = (Authority::new("Gone"), Authority::new("Root"));
    let setup = Setup::new().master("tester", &tester).echo();
    let list = setup.folder().join("list.crl");
    for (file, text) in [("gone.pem", gone.pem()), ("root.pem", root.pem()), ("list.crl", root.revoking(&[]))]
    {
        std::fs::write(setup.folder().join(file), text).unwrap();
    }
    let pin = format!("{:?}, ", old.sha256());
    let server = setup
        .section("[identity]\nauthorities = [\"gone.pem\", \"root.pem\"]\nrevocation_lists = [\"list.crl\"]")
        .section(&format!("[clients.pinned]\nthumbprints = [{pin}{:?}]\ncommands = [\"echo\"]", new.sha256()))
        .section("[clients.vouched]\nuris = [\"urn:a\", \"urn:b\"]\ncommands = [\"echo\"]")
        .start();
    let numbered =
        |serial: u64, uri| root.issue_with("x", &[uri], |params| params.serial_number = Some(serial.into()));
    let away = [
        (old, "is unknown"),
        (gone.issue("x", "urn:a"), "is unknown"),
        (numbered(7, "urn:a"), "was revoked"),
        (numbered(8, "urn:b"), "is unknown"),
    ];
    let mut operator = server.connect(&tester);
    let mut cut_off = away.map(|(identity, words)| (server.connect(&identity), words));
    let mut lasting = [new, numbered(9, "urn:a")].map(|identity| server.connect(&identity));
    let slow = loading(&server);
    std::fs::write(list, root.revoking(&[7])).unwrap();
    server.edit(|text| {
        [&*pin, "\"gone.pem\", ", ", \"urn:b\""].iter().fold(text, |text, away| text.replace(away, ""))
            + &slow
    });
    begin_reload(&server, &mut operator);
    cut_off.iter_mut().for_each(|(connection, words)| is_cut_off(connection, words));
    lasting.iter_mut().for_each(|connection| assert_eq!(connection.ask("echo goes-on"), "goes-on"));
    assert!(operator.ask("@status").contains("loading plugin slow"));
}
