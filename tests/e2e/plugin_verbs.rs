//! `lictor plugin add|rm|list`: plugins in a config file, edited from the command line.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sha2::{Digest, Sha256};
use testkit::certs::Identity;
use testkit::components::{self, Minimal};
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::prompt::talk;

fn plugin(folder: &Path, arguments: &[&str]) -> Finished {
    finish(lictor(folder).arg("plugin").args(arguments))
}

/// A folder with a config, in which `boss` may do anything, and components in `plugins`.
fn setup() -> Setup {
    let setup = Setup::new();
    Identity::new("boss").write(setup.folder(), "boss");
    let plugins = setup.folder().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for (name, component) in
        [("echo", components::echo()), ("kv", components::kv()), ("granted", components::granted())]
    {
        fs::copy(component, plugins.join(format!("{name}.wasm"))).unwrap();
    }
    setup.section("[clients.boss]\ncertificates = [\"boss.pem\"]\ncommands = [\"*\", \"@*\"] # all")
}

fn start(setup: Setup) -> Server {
    let server = setup.start();
    server.edit(|text| text.replace("127.0.0.1:0", &server.address().to_string()));
    server
}

fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join("server.toml")).unwrap()
}

#[test]
fn a_plugin_is_added_with_its_hash_and_its_grants_and_serves_at_once() {
    let server = start(setup());
    let (folder, before) = (server.folder(), text(server.folder()));
    let sha256 =
        |name: &str| base16ct::lower::encode_string(&Sha256::digest(fs::read(folder.join(name)).unwrap()));
    let added = plugin(folder, &["add", "plugins/echo.wasm", "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let lines = format!(
        "[plugins.echo]\ncomponent = \"plugins/echo.wasm\"\nsha256 = \"{}\"\n",
        sha256("plugins/echo.wasm")
    );
    assert!(text(folder).contains(&lines), "{}", text(folder));
    for words in ["plugins/echo.wasm: a component of ", "+[plugins.echo]\n", "live     added    plugins.echo"]
    {
        assert!(added.stdout.contains(words), "{words}: {added:?}");
    }
    let mut boss = server.connect(&Identity::read(folder, "boss"));
    assert_eq!(boss.ask("echo on"), "on");

    let options = ["--name", "store", "--grant", "keyvalue", "--grant", "keyvalue=other", "--yes"];
    let added = plugin(folder, &[&["add", "plugins/kv.wasm"], &options[..]].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    let after = text(folder);
    assert!(after.contains("[plugins.store.grants]\nkeyvalue = [\"default\", \"other\"]\n"), "{after}");
    assert!(after.contains("commands = [\"kv-get\", "), "{after}");
    assert_eq!(boss.ask("kv-set a b"), "1");

    let listed = plugin(folder, &["list"]);
    assert!(listed.stdout.contains("echo   plugins/echo.wasm; commands echo; pinned\n"), "{listed:?}");
    assert!(listed.stdout.contains("; grants keyvalue; pinned\n"), "{listed:?}");
    let json = plugin(folder, &["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["plugins"][0]["sha256"], sha256("plugins/echo.wasm"));
    assert_eq!(json["plugins"][1]["grants"], serde_json::json!({ "keyvalue": ["default", "other"] }));

    for name in ["store", "echo"] {
        let removed = plugin(folder, &["rm", name, "--yes"]);
        assert!(
            removed.code == Some(0) && removed.stdout.contains(&format!("live     removed  plugins.{name}"))
        );
    }
    assert_eq!(text(folder), before);
    assert_eq!(boss.ask("echo on"), "ERR Unknown command echo");
}

#[test]
fn each_grant_is_asked_for_with_what_it_gives_away() {
    let setup = setup();
    setup.write();
    let (folder, before) = (setup.folder(), text(setup.folder()));
    let script = [
        "",
        "wasi:logging/logging@0.1.0-draft",
        "",
        "grant `config`: it reads the settings that you write",
        "",
        "Grant it? [y/N]",
        "y\r",
        "grant `logging`: it writes events into the server's log",
        "",
        "Grant it? [y/N]",
        "y\r",
        "+[plugins.granted.config]",
        "",
        "+logging = true",
        "",
        "Write this? [y/N]",
        "y\r",
        "added the plugin granted",
    ];
    let add = "plugin add plugins/granted.wasm --command config --command log";
    assert_eq!(talk(folder, add, &script), 0);
    let added = text(folder);
    assert!(added.contains("commands = [\"config\", \"log\"]\n\n[plugins.granted.config]\n\n[plugins.granted.grants]\nlogging = true\n"));
    assert_eq!(finish(lictor(folder).arg("check")).code, Some(0));
    assert_eq!(plugin(folder, &["rm", "granted", "--yes"]).code, Some(0));
    assert_eq!(text(folder), before);

    let stores = [
        "",
        "Grant it? [y/N]",
        "default\r",
        "Answer y for yes, or n for no. [y/N]",
        "Y\r",
        "Which stores, separated by commas? [default]",
        "a, b\r",
        "+keyvalue = [\"a\", \"b\"]",
        "",
        "[y/N]",
        "y\r",
        "added",
    ];
    assert_eq!(talk(folder, "plugin add plugins/kv.wasm", &stores), 0);
    assert_eq!(plugin(folder, &["rm", "kv", "--yes"]).code, Some(0));
    let no = ["", "Grant it? [y/N]", "n\r", "`--grant keyvalue=` it loads, and reaches nothing by it"];
    assert_eq!(talk(folder, "plugin add plugins/kv.wasm", &no), 1);
    let no = ["", "Write this? [y/N]", "n\r", "nothing was written"];
    assert_eq!(talk(folder, "plugin add plugins/echo.wasm", &no), 1);
    assert_eq!(text(folder), before);
}

#[test]
fn an_answer_that_is_wrong_is_asked_for_again_and_those_before_it_stand() {
    let setup = setup();
    setup.write();
    let folder = setup.folder();
    fs::copy(components::reaching(), folder.join("plugins/reaching.wasm")).unwrap();
    let stores = "Which stores, separated by commas? [default]";
    let script = [
        "",
        "Grant it? [y/N]",
        "y\r",
        stores,
        "other/x\r",
        "a store of a plugin that does not exist",
        "",
        stores,
        "a b\r",
        "error: ",
        "",
        stores,
        "mine\r",
        "+keyvalue = [\"mine\"]",
        "",
        "Write this? [y/N]",
        "y\r",
        "added the plugin kv",
    ];
    assert_eq!(talk(folder, "plugin add plugins/kv.wasm", &script), 0);
    // What is wrong before any answer is told before any question.
    let early = ["", "error: ", "", "nothing was written: server.toml would be faulty"];
    assert_eq!(talk(folder, "plugin add plugins/kv.wasm --name b --command @x", &early), 2);
}

#[test]
fn a_component_is_named_from_the_folder_of_the_config_or_in_full() {
    let setup = setup();
    setup.write();
    let (outer, sub) = (setup.folder().canonicalize().unwrap(), setup.folder().join("sub"));
    fs::create_dir(&sub).unwrap();
    fs::copy(setup.folder().join("server.toml"), sub.join("server.toml")).unwrap();
    let sub_text = text(&sub).replace("boss.pem", "../boss.pem");
    let absolute = |name: &str| outer.join(name).display().to_string();
    let sub_text = sub_text.replace("\"server.", &format!("\"{}/server.", outer.display()));
    fs::write(sub.join("server.toml"), &sub_text).unwrap();
    fs::copy(setup.folder().join("plugins/echo.wasm"), sub.join("own.wasm")).unwrap();
    symlink(&sub, setup.folder().join("link")).unwrap();
    for (file, config, written) in [
        ("../plugins/echo.wasm", "server.toml", absolute("plugins/echo.wasm")),
        ("../sub/own.wasm", "server.toml", "own.wasm".to_owned()),
        ("./own.wasm", "../link/server.toml", "own.wasm".to_owned()),
    ] {
        let added =
            plugin(&sub, &["add", file, "--name", "p", "--command", "echo", "--config", config, "--yes"]);
        assert_eq!(added.code, Some(0), "{added:?}");
        assert!(text(&sub).contains(&format!("component = \"{written}\"\n")), "{file}: {}", text(&sub));
        fs::write(sub.join("server.toml"), &sub_text).unwrap();
    }
}

#[test]
fn what_cannot_be_added_is_refused_with_what_to_do() {
    let setup = setup();
    setup.write();
    let (folder, before) = (setup.folder(), text(setup.folder()));
    fs::write(folder.join("text.wasm"), "no component").unwrap();
    Minimal::new(&["x"]).importing("acme:thing/api@1.0.0", "(export \"f\" (func))").write(folder, "alien");
    Minimal::new(&["x y"]).write(folder, "odd");
    fs::copy(folder.join("plugins/echo.wasm"), folder.join("no name.wasm")).unwrap();
    for (arguments, words) in [
        (&["plugins/kv.wasm"][..], "--grant keyvalue=default\n    it keeps values in stores"),
        (&["plugins/granted.wasm", "--command", "log"], "--grant config\n"),
        (&["plugins/granted.wasm", "--grant", "config", "--grant", "logging"], "describes no command"),
        (&["plugins/kv.wasm", "--grant", "keyvalue=other/x"], "plugin that does not exist"),
        (&["plugins/kv.wasm", "--grant", "stores=x"], "there is no grant stores; there are config, "),
        (&["plugins/none.wasm"], "plugins/none.wasm"),
        (&["text.wasm"], "it is not WebAssembly"),
        (&["alien.wasm"], "it imports acme:thing/api@1.0.0"),
        (&["odd.wasm"], "invalid command names"),
        (&["no name.wasm"], "give --name"),
        (&["plugins/echo.wasm", "--command", "@x"], "server.toml:"),
    ] {
        let refused = plugin(folder, &[&["add"], arguments, &["--yes"]].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(words), "{words}: {refused:?}");
    }
    let unasked = plugin(folder, &["add", "plugins/echo.wasm"]);
    assert!(unasked.code == Some(2) && unasked.stderr.contains("--yes writes without asking"), "{unasked:?}");
    let unknown = plugin(folder, &["rm", "echo", "--yes"]);
    assert!(
        unknown.code == Some(2) && unknown.stderr.contains("has no plugin echo; it has none"),
        "{unknown:?}"
    );
    assert_eq!(text(folder), before);

    // In a file of its own.
    fs::create_dir(folder.join("conf.d")).unwrap();
    fs::write(folder.join("server.toml"), format!("include = [\"conf.d/*.toml\"]\n{before}")).unwrap();
    let added = plugin(folder, &["add", "plugins/echo.wasm", "--to", "conf.d/echo.toml", "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let written = fs::read_to_string(folder.join("conf.d/echo.toml")).unwrap();
    assert!(written.starts_with("[plugins.echo]\ncomponent = \"../plugins/echo.wasm\"\n"), "{written}");
    assert_eq!(finish(lictor(folder).arg("check")).code, Some(0));
    assert_eq!(plugin(folder, &["rm", "echo", "--yes"]).code, Some(0));
    assert!(!folder.join("conf.d/echo.toml").exists());
    fs::write(folder.join("server.toml"), &before).unwrap();

    // A store of it is granted to another.
    for arguments in [
        &["plugins/kv.wasm", "--grant", "keyvalue", "--name", "a"][..],
        &["plugins/kv.wasm", "--grant", "keyvalue=a/default", "--name", "b", "--command", "x"],
        &["plugins/echo.wasm", "--grant", "http=https://example.org", "--grant", "directories=/data=plugins"],
    ] {
        let added = plugin(folder, &[&["add"], arguments, &["--yes"]].concat());
        assert_eq!(added.code, Some(0), "{added:?}");
    }
    assert!(
        text(folder)
            .contains("directories = { \"/data\" = \"plugins\" }\nhttp = [\"https://example.org\"]\n")
    );
    let again = plugin(folder, &["add", "plugins/echo.wasm", "--yes"]);
    assert!(
        again.code == Some(2)
            && again.stderr.contains("write the new hash, which `lictor plugin inspect FILE`")
            && again.stderr.contains("has a plugin echo already, in line "),
        "{again:?}"
    );
    let needed = plugin(folder, &["rm", "a", "--yes"]);
    assert!(
        needed.code == Some(2) && needed.stderr.contains("a store of a plugin that does not exist"),
        "{needed:?}"
    );
}

#[test]
fn the_difference_of_two_versions_is_shown() {
    let setup = setup();
    let folder = setup.folder();
    let (echo, kv) = ("plugins/echo.wasm", "plugins/kv.wasm");
    let shown = plugin(folder, &["diff", echo, kv]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "imports:\n",
        "  + lictor:plugin/state@0.1.0\n",
        "grants:\n  + keyvalue\n",
        "commands:\n",
        "  + kv-get\n",
        "  - echo",
        "plugins/kv.wasm: ",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {shown:?}");
    }
    let json = plugin(folder, &["diff", kv, echo, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["grants"], serde_json::json!({ "gained": [], "lost": ["keyvalue"] }));
    assert_eq!((&json["same"], &json["commands_compared"]), (&false.into(), &true.into()));
    assert_eq!(json["old"]["size"], fs::metadata(folder.join(kv)).unwrap().len());

    let same = plugin(folder, &["diff", echo, echo]);
    assert!(same.code == Some(0) && same.stdout.ends_with("the same file\n"), "{same:?}");
    // One that does not load has imports all the same.
    Minimal::new(&["x"])
        .importing("acme:thing/api@1.0.0", "(export \"f\" (func))")
        .write(folder, "alien.wasm");
    let alien = plugin(folder, &["diff", echo, "alien.wasm"]);
    assert!(
        alien.stdout.contains("  + acme:thing/api@1.0.0\n") && alien.stderr.contains("does not load"),
        "{alien:?}"
    );
    let missing = plugin(folder, &["diff", echo, "none.wasm"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[test]
fn a_reload_that_replaces_a_component_tells_the_difference() {
    let keys = "[plugins.p]\ncomponent = \"plugins/p.wasm\"\ncommands = [\"echo\"]";
    let setup = setup().section(keys);
    let path = setup.folder().join("plugins/p.wasm");
    fs::copy(components::echo(), &path).unwrap();
    let server = setup.start();
    let mut boss = server.connect(&Identity::read(server.folder(), "boss"));
    // Atomically, as an operator would.
    let replace = |component: &Path| {
        let new = path.with_extension("new");
        fs::copy(component, &new).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    replace(components::kv());
    let refused = boss.ask("@reload");
    assert!(refused.contains("lictor:plugin/state@0.1.0, which is not granted to it"), "{refused}");
    let status = boss.ask("@status");
    for words in
        ["compared with the version in use: imports ", "+lictor:plugin/state@0.1.0", "; grants +keyvalue"]
    {
        assert!(status.contains(words), "{words}: {status}");
    }
    assert_eq!(server.happened("a component was replaced"), 0);
    assert_eq!(boss.ask("echo on"), "on");

    server.edit(|text| text.replace("[\"echo\"]", "[\"echo\"]\n[plugins.p.grants]\nkeyvalue = []"));
    let reloaded = boss.ask("@reload");
    assert!(reloaded.contains("plugins.p"), "{reloaded}");
    let entry = server.wait_for_log("the difference", |entry| entry.message() == "a component was replaced");
    let difference = entry.text("difference").unwrap();
    assert_eq!(entry.text("plugin"), Some("p"));
    for words in ["+lictor:plugin/state@0.1.0", "; grants +keyvalue", "; commands +kv-delete ", " -echo"] {
        assert!(difference.contains(words), "{words}: {difference}");
    }
    // The same component with other settings is none.
    server.edit(|text| text.replace("keyvalue = []", "keyvalue = [\"default\"]"));
    boss.ask("@reload");
    assert_eq!(server.happened("a component was replaced"), 1);
}
