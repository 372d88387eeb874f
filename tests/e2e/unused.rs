//! The record of use: which entries of the config nobody has used, live and by `lictor check`, over restarts,
//! reloads and faults of its file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::certs::Identity;
use testkit::client::Connection;
use testkit::components::{self, Minimal};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};
use testkit::web::Web;

const MINUTES_OF_40_DAYS: u64 = 40 * 24 * 60;

const STATE: &str = "[state]\nengine = \"sqlite\"\npath = \"state/lictor.db\"";

fn kept(folder: &Path) -> PathBuf {
    folder.join("state/usage.json")
}

fn read(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(kept(folder)).unwrap()).unwrap()
}

/// Stops the server, has all entries observed for 40 days, and starts it anew.
fn age(server: &mut Server) {
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let mut record = read(server.folder());
    let lists = record["entries"].as_object_mut().unwrap().values_mut();
    for row in lists.flat_map(|list| list.as_object_mut().unwrap().values_mut()) {
        row["since"] = (row["since"].as_u64().unwrap() - MINUTES_OF_40_DAYS).into();
    }
    fs::write(kept(server.folder()), record.to_string()).unwrap();
    server.start_anew();
}

fn check(folder: &Path, options: &[&str]) -> Finished {
    finish(
        lictor(folder)
            .arg("check")
            .arg("--config")
            .arg(folder.join("server.toml"))
            .arg("--unused")
            .args(options),
    )
}

/// Returns the lists and texts of a report's entries.
fn unused(report: &Value) -> Vec<String> {
    let lines = report["unused"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|line| format!("{} {}", text(&line["list"]), text(&line["entry"]))).collect()
}

fn json(connection: &mut Connection, line: &str) -> Value {
    connection.send(format!("{line}\r\nFormat: json\r\n\r\n"));
    serde_json::from_str(&connection.read_reply()).unwrap()
}

#[test]
fn what_clients_and_plugins_do_not_use_is_listed() {
    let (tester, other) = (Identity::new("tester"), Identity::new("other"));
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let setup = Setup::new();
    for name in ["one", "two"] {
        fs::create_dir(setup.folder().join(name)).unwrap();
        fs::write(setup.folder().join(name).join("file"), "text").unwrap();
    }
    let path = |name: &str| setup.folder().join(name).display().to_string();
    let (a, b) = (path("one/file"), path("two/file"));
    let grants = format!(
        "[plugins.folders.grants.directories]\n\"/one\" = \"one\"\n\"/two\" = \"two\"\n\
         [plugins.granted.config]\ngreeting = \"hello\"\n[plugins.granted.grants]\nlogging = true\n\
         [plugins.kv.grants]\nkeyvalue = [\"default\", \"other\"]\n\
         [plugins.announcing.grants]\nevents = [\"publish jobs/*\", \"other\"]\n\
         [plugins.web.grants]\nhttp = [{:?}, {{ url = \"https://db.internal\", networks = [\"10.0.0.0/8\"] }}]\n\
         [plugins.reaching.grants]\ncommands = [\"kv-get default *\", \"kv-set\"]\nfiles = [{a:?}, {b:?}]\n\
         [roles.reader]\ncommands = [\"read\", \"list\", \"size\"]\n\
         [roles.idle]\ncommands = [\"echo idle\"]\n",
        web.url("")
    );
    let clients = [("tester", &tester, "\"reader\", \"idle\""), ("other", &other, "\"reader\"")].map(
        |(name, identity, roles)| {
            format!(
                "[clients.{name}]\nthumbprints = [\"{}\"]\nroles = [{roles}]\n\
                 commands = [\"config\", \"kv-*\", \"announce jobs/done\", \"fetch\", \"run\", \"slurp\", \"echo {name}\", \"@status unused ...\", \"@ping\"]",
                identity.sha256()
            )
        },
    );
    let mut server = setup
        .plugin("folders", components::folders(), &["read", "list", "size"], "")
        .plugin("granted", components::granted(), &["config", "config-all", "log"], "")
        .plugin("kv", components::stateful(), &["kv-get", "kv-set"], "")
        .plugin("announcing", components::announcing(), &["announce"], "")
        .plugin("web", components::web(), &["fetch"], "")
        .plugin("reaching", components::reaching(), &["run", "slurp"], "")
        .section(&format!("[plugins.echo]\ncomponent = {:?}", components::echo()))
        .section(&grants)
        .section(&clients.join("\n"))
        .section(STATE)
        .start();
    let mut connection = server.connect(&tester);
    let asked = [
        ("read /one/file".to_owned(), "text"),
        ("config greeting".to_owned(), "hello"),
        ("kv-set default k v".to_owned(), ""),
        ("run kv-get default k".to_owned(), "v"),
        ("announce jobs/done".to_owned(), "0"),
        (format!("fetch GET {}", web.url("/")), "200\ncontent-length: 5\n\nhello"),
        ("@status unused".to_owned(), ""),
    ];
    for (line, reply) in &asked {
        let said = connection.ask(line);
        assert!(reply.is_empty() || said == *reply, "{line}: {said}");
    }
    // Refused, so it is no use.
    assert_eq!(connection.ask_framed("echo other").failure(), ("forbidden", "not-run"));
    let first = connection.ask("@status unused");
    assert!(first.starts_with("nothing was unused for 30d\n"), "{first}");
    assert!(first.contains(" more not used yet, and observed for less than 30d: since "), "{first}");
    assert!(check(server.folder(), &["30d"]).stderr.contains("there is no "), "it is not written yet");
    age(&mut server);
    let expected = [
        "roles.idle.commands \"echo idle\"".to_owned(),
        "roles.reader.commands \"list\"".to_owned(),
        "roles.reader.commands \"size\"".to_owned(),
        "clients.other.roles \"reader\"".to_owned(),
        "clients.other.commands \"config\"".to_owned(),
        "clients.other.commands \"kv-*\"".to_owned(),
        "clients.other.commands \"announce jobs/done\"".to_owned(),
        "clients.other.commands \"fetch\"".to_owned(),
        "clients.other.commands \"run\"".to_owned(),
        "clients.other.commands \"slurp\"".to_owned(),
        "clients.other.commands \"echo other\"".to_owned(),
        "clients.other.commands \"@status unused ...\"".to_owned(),
        "clients.other.commands \"@ping\"".to_owned(),
        "clients.tester.roles \"idle\"".to_owned(),
        "clients.tester.commands \"slurp\"".to_owned(),
        "clients.tester.commands \"echo tester\"".to_owned(),
        "clients.tester.commands \"@ping\"".to_owned(),
        "plugins echo".to_owned(),
        "plugins.announcing.grants.events \"other\"".to_owned(),
        "plugins.folders.commands \"list\"".to_owned(),
        "plugins.folders.commands \"size\"".to_owned(),
        "plugins.folders.grants.directories \"/two\"".to_owned(),
        "plugins.granted.commands \"config-all\"".to_owned(),
        "plugins.granted.commands \"log\"".to_owned(),
        "plugins.kv.grants.keyvalue \"other\"".to_owned(),
        "plugins.reaching.commands \"slurp\"".to_owned(),
        "plugins.reaching.grants.commands \"kv-set\"".to_owned(),
        format!("plugins.reaching.grants.files {a:?}"),
        format!("plugins.reaching.grants.files {b:?}"),
        "plugins.web.grants.http \"https://db.internal\"".to_owned(),
    ];
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let mut connection = server.connect(&tester);
    let live = json(&mut connection, "@status unused 30d");
    assert_eq!(sorted(unused(&live)), sorted(expected.to_vec()), "{live}");
    assert_eq!((live["period"].as_str(), &live["undecided"]), (Some("30d"), &Value::Array(vec![])));
    let line = live["unused"].as_array().unwrap().iter().find(|line| line["entry"] == "echo").unwrap();
    assert_eq!(
        (&line["removal"], &line["last_used"]),
        (&"delete [plugins.echo] and its tables".into(), &Value::Null)
    );
    let checked = check(server.folder(), &["30d", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&checked.stdout).unwrap(), live);
    let live = connection.ask("@status unused 30d");
    let checked = check(server.folder(), &["30d"]);
    assert_eq!((checked.code, checked.stdout.trim_end()), (Some(0), live.as_str()), "{checked:?}");
    let of_client =
        live.lines().filter(|line| line.contains("clients.other") || line.contains("client other"));
    let of_client: Vec<_> = of_client.collect();
    assert!(of_client.len() == 1 && of_client[0].contains(": client other: nothing used since "), "{live}");
    assert!(connection.ask("@status unused 60d").starts_with("nothing was unused for 60d\n"));
}

/// Follows the advice for every entry that is listed, and loads the config.
#[test]
fn taking_away_all_that_is_listed_leaves_a_config_that_loads() {
    let (tester, other) = (Identity::new("tester"), Identity::new("other"));
    let setup = Setup::new();
    fs::write(setup.folder().join("file"), "text").unwrap();
    fs::create_dir(setup.folder().join("folder")).unwrap();
    let tables = [
        ("[plugins.folders.grants.directories]\n\"/one\" = \"folder\"\n", ""),
        ("[plugins.granted.config]\ngreeting = \"hello\"\n", "[plugins.granted.config]\n"),
    ];
    let lists = [
        ("kv", "keyvalue", "\"default\""),
        ("announcing", "events", "\"jobs/*\""),
        ("web", "http", "\"https://db.internal\""),
        ("reader", "keyvalue", "\"owner/default\""),
    ];
    let grants = |items: fn(&'static str) -> &'static str| {
        let lists =
            lists.map(|(name, key, item)| format!("[plugins.{name}.grants]\n{key} = [{}]\n", items(item)));
        format!(
            "{}[plugins.reaching.grants]\ncommands = [{}]\nfiles = [{}]\n",
            lists.concat(),
            items("\"kv-get\""),
            items("\"file\"")
        )
    };
    let section = |name: &str, component: &Path| format!("[plugins.{name}]\ncomponent = {component:?}\n");
    let echo = section("echo", components::echo());
    let mut server = setup
        .plugin("granted", components::granted(), &["config"], "")
        .plugin("kv", components::stateful(), &["kv-get"], "")
        .plugin("reader", components::stateful(), &["kv-set"], "")
        .plugin("announcing", components::announcing(), &["announce"], "")
        .plugin("web", components::web(), &["fetch"], "")
        .plugin("reaching", components::reaching(), &["run"], "")
        .plugin("folders", components::folders(), &["read"], "")
        .section(&echo)
        .section(&section("owner", components::stateful()))
        .section("[plugins.owner.grants]\nkeyvalue = []\n[plugins.granted.grants]\nlogging = true")
        .section(&tables.map(|(given, _)| given).concat())
        .section(&grants(|item| item))
        .client("other", &other, &["kv-*"])
        .client("tester", &tester, &["@reload", "@status"])
        .section(STATE)
        .start();
    age(&mut server);
    let mut connection = server.connect(&tester);
    let listed = connection.ask("@status unused");
    // Another entry needs this plugin, and the component of another may need `logging`.
    assert!(!listed.contains("plugin owner") && !listed.contains("logging"), "{listed}");
    for line in [
        "plugin echo: nothing called since ",
        "plugin reader: nothing called since ",
        ": `lictor plugin rm folders` removes it",
        "client other: nothing used",
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    let whole = fs::read_to_string(server.config()).unwrap();
    let list =
        |text: String, commands: &str| text.replace(&format!("commands = [\"{commands}\"]"), "commands = []");
    let mut left = whole.replace(&grants(|item| item), &grants(|_| "")).replace(&echo, "");
    for (given, emptied) in tables {
        left = left.replace(given, emptied);
    }
    for command in ["config", "kv-get", "kv-set", "announce", "fetch", "run", "read", "kv-*"] {
        left = list(left, command);
    }
    server.edit(|_| left);
    let reloaded = connection.ask("@reload");
    assert!(reloaded.contains("removed  plugins.echo"), "{reloaded}");
    let checked = finish(lictor(server.folder()).arg("check").arg("--config").arg(server.config()));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // Nothing is listed for ever, and the plugin is once nobody is granted its store.
    let after = unused(&json(&mut connection, "@status unused"));
    assert_eq!(after, ["plugins owner"]);
}

#[test]
fn a_reload_ends_the_record_of_what_it_removes() {
    let (tester, other) = (Identity::new("tester"), Identity::new("other"));
    let setup = Setup::new().master("tester", &tester).echo().section(STATE);
    let mut server = setup.client("other", &other, &["echo", "@ping"]).start();
    assert_eq!(server.connect(&other).ask("echo a"), "a");
    age(&mut server);
    let mut connection = server.connect(&tester);
    assert_eq!(
        unused(&json(&mut connection, "@status unused")),
        ["clients.tester.commands \"*\"", "clients.other.commands \"@ping\""]
    );
    let whole = fs::read_to_string(server.config()).unwrap();
    let (without, _) = whole.split_once("[clients.other]").unwrap();
    server.edit(|_| without.to_owned());
    assert!(connection.ask("@reload").contains("removed  clients.other"));
    assert_eq!(unused(&json(&mut connection, "@status unused")), ["clients.tester.commands \"*\""]);
    server.edit(|_| whole);
    assert!(connection.ask("@reload").contains("added    clients.other"));
    let report = json(&mut connection, "@status unused");
    let undecided: Vec<_> =
        report["undecided"].as_array().unwrap().iter().map(|line| &line["list"]).collect();
    assert_eq!(undecided, ["clients.other.commands", "clients.other.commands"]);
    // A use after the reload is noted in the new row.
    assert_eq!(server.connect(&other).ask("echo a"), "a");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let record = read(server.folder());
    let rows = &record["entries"]["clients.other.commands"];
    assert!(rows["echo"]["last"].is_u64() && rows["@ping"]["last"].is_null(), "{record}");
}

#[test]
fn arguments_of_the_report_are_checked() {
    let (tester, poor) = (Identity::new("tester"), Identity::new("poor"));
    let setup = Setup::new().master("tester", &tester).client("poor", &poor, &["@status ."]);
    let server = setup.section(STATE).start();
    let mut connection = server.connect(&tester);
    for (line, words) in [
        ("@status unused 30", "write \"30d\" or \"30h\""),
        ("@status unused 1w", "such as \"500ms\""),
        ("@status unused 30d 1", "Usage: @status [metrics|unused [TIME]]"),
        ("@status unused \"\"", "such as \"500ms\""),
    ] {
        let refused = connection.ask_framed(line);
        assert_eq!(refused.failure(), ("bad-arguments", "failed"), "{line}");
        assert!(refused.message.contains(words), "{line}: {refused:?}");
    }
    connection.send("@status unused\r\nFormat: xml\r\nSequence: 1\r\n\r\n");
    assert_eq!(connection.read_frame().failure().0, "bad-arguments");
    assert_eq!(server.connect(&poor).ask_framed("@status unused").failure().0, "forbidden");
    for (options, words) in
        [(["30", "--json"], "write \"30d\""), (["30d", "--diff=server.toml"], "cannot be used with")]
    {
        let refused = check(server.folder(), &options);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let alone = finish(lictor(server.folder()).args(["check", "--json"]));
    assert_eq!(alone.code, Some(2), "{alone:?}");
}

#[test]
fn a_record_that_is_broken_or_can_not_be_written_stops_nothing() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo().section(STATE);
    let folder = setup.folder().join("state");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("usage.json"), "{\"version\":1,\"alive\":").unwrap();
    let mut server = setup.start();
    let told = server.wait_for_log("the broken record", |entry| entry.message().contains("was set aside"));
    assert!(told.text("aside").unwrap().ends_with("state/usage.json.aside"), "{told:?}");
    assert_eq!(fs::read_to_string(folder.join("usage.json.aside")).unwrap(), "{\"version\":1,\"alive\":");
    let checked = check(server.folder(), &["30d"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    // Nobody, root neither, replaces a folder by a file.
    fs::create_dir(folder.join("usage.json")).unwrap();
    eventually("a write that fails", || {
        (server.happened("the record of use cannot be written; it is kept in memory until it can") > 0)
            .then_some(())
    });
    assert_eq!(server.connect(&tester).ask("echo a"), "a");
    let checked = check(server.folder(), &["30d"]);
    assert!(checked.code == Some(1) && checked.stderr.contains("cannot be used"), "{checked:?}");
    fs::remove_dir(folder.join("usage.json")).unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(server.happened("the record of use can be written again"), 1);
    assert!(read(server.folder())["entries"]["clients.tester.commands"]["*"]["last"].is_u64());
}

/// Without a state file the record is in the folder of compiled plugins.
#[test]
fn no_plugin_reads_the_record() {
    for (state, file) in
        [(STATE, "state/usage.json"), ("", "compiled/usage.json"), (STATE, "state/usage.json.aside")]
    {
        let setup = Setup::new().server("cache = \"compiled\"").section(state);
        let component = Minimal::new(&["run"]).write(setup.folder(), "guest");
        let grants = format!("[plugins.guest.grants]\nfiles = [{file:?}]");
        let setup = setup.plugin("guest", &component, &["run"], &grants);
        let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()));
        assert_eq!(checked.code, Some(2), "{file}: {checked:?}");
        assert!(checked.stderr.contains("leads to a path that no plugin may read"), "{file}: {checked:?}");
    }
    let tester = Identity::new("tester");
    let mut server = Setup::new().master("tester", &tester).server("cache = \"compiled\"").start();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(server.folder().join("compiled/usage.json").exists());
}
