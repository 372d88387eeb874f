//! `lictor client add|rm|list`: clients in a config file, edited from the command line.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use testkit::certs::{Authority, Identity};
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};

use crate::initialized::initialized;
use crate::prompt::talk;

pub(crate) fn client(folder: &Path, arguments: &[&str]) -> Finished {
    finish(lictor(folder).arg("client").args(arguments))
}

/// Comments, secrets and odd forms that no edit may change or show.
const SECTIONS: &str = "# what all may do\n[roles.all]\ncommands = [ \"@ping\", # and\n  'echo' ]\n\n\
                        # the operator, hunter2\n[clients.boss]   # him\ncertificates = [\"boss.pem\"]\ncommands = [\"*\", \"@*\"]\n\
                        # secret = \"hunter2\"\n\n[plugins.echo.config]\ntoken = 'hunter2'";

/// A folder with a config that serves `echo`; `boss` may do anything.
pub(crate) fn setup() -> Setup {
    let setup = Setup::new();
    Identity::new("boss").write(setup.folder(), "boss");
    setup.echo().section(SECTIONS)
}

/// Starts a server that the config names by its real port.
pub(crate) fn start(setup: Setup) -> Server {
    let server = setup.start();
    server.edit(|text| text.replace("127.0.0.1:0", &server.address().to_string()));
    server
}

pub(crate) fn text(folder: &Path) -> String {
    fs::read_to_string(folder.join("server.toml")).unwrap()
}

#[test]
fn a_client_is_added_with_a_certificate_and_admitted_at_once() {
    let server = start(setup());
    let (folder, before) = (server.folder(), text(server.folder()));
    fs::set_permissions(server.config(), fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(server.config(), folder.join("real.toml")).unwrap();
    symlink("real.toml", server.config()).unwrap();

    let added = client(folder, &["add", "laptop", "--role", "all", "--command", "@whoami", "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let lines = "[clients.laptop]\ncertificates = [\"certs/laptop.pem\"]\nroles = [\"all\"]\ncommands = [\"@whoami\"]\n";
    let shown: String = lines.lines().map(|line| format!("+{line}\n")).collect();
    for words in [
        shown.as_str(),
        "makes certs/laptop.pem and certs/laptop.key, valid for 825 days",
        "live     added    clients.laptop",
        "move certs/laptop.key to the client",
    ] {
        assert!(added.stdout.contains(words), "{words}: {added:?}");
    }
    assert!(!format!("{added:?}").contains("hunter2"), "{added:?}");
    let after = text(folder);
    assert_eq!(after.replace(&format!("\n{lines}"), ""), before);
    assert!(after.find("[clients.boss]") < after.find("[clients.laptop]"));
    assert!(after.find("[clients.laptop]") < after.find("[plugins.echo.config]"));
    let mode = |file: &str| fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("real.toml"), mode("certs/laptop.key")), (0o640, 0o600));
    assert!(fs::symlink_metadata(server.config()).unwrap().is_symlink());
    let call = ["call", "--config", "server.toml", "--cert", "certs/laptop.pem", "@whoami"];
    assert!(finish(lictor(folder).args(call)).stdout.contains("laptop"));

    let mut laptop = server.connect(&Identity::read(&folder.join("certs"), "laptop"));
    let mut boss = server.connect(&Identity::read(folder, "boss"));
    let removed = client(folder, &["rm", "laptop", "--yes"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    for words in
        ["-[clients.laptop]\n", "the connections of laptop are closed", "live     removed  clients.laptop"]
    {
        assert!(removed.stdout.contains(words), "{words}: {removed:?}");
    }
    laptop.read_to_end();
    assert_eq!(boss.ask("echo on"), "on");
    assert_eq!(text(folder), before);
    assert!(folder.join("certs/laptop.key").exists());

    // The certificate is there, and is pinned as it is.
    let again = client(folder, &["add", "laptop", "--command", "echo", "--yes"]);
    assert!(
        again.code == Some(0) && again.stdout.contains("pins certs/laptop.pem, which exists"),
        "{again:?}"
    );
}

#[test]
fn a_client_is_added_by_any_identity() {
    let setup = setup().server("listen = [\"127.0.0.1:1\"]");
    setup.write();
    let folder = setup.folder();
    let (phone, desk) = (Identity::new("phone"), Identity::new("desk"));
    fs::create_dir(folder.join("sub")).unwrap();
    phone.write(&folder.join("sub"), "phone");
    let elsewhere = tempfile::tempdir().unwrap();
    desk.write(elsewhere.path(), "desk");
    let outside = elsewhere.path().join("desk.pem").display().to_string();
    for (name, option, value, line) in [
        ("phone", "--certificate", "sub/../sub/phone.pem", "certificates = [\"sub/phone.pem\"]".to_owned()),
        ("desk", "--certificate", &outside, format!("certificates = [\"{outside}\"]")),
        ("pinned", "--thumbprint", &Identity::new("x").sha256(), String::new()),
        ("a.b", "--thumbprint", &Identity::new("y").sha256(), "[clients.\"a.b\"]".to_owned()),
    ] {
        let added = client(folder, &["add", name, option, value, "--command", "@ping", "--yes"]);
        assert_eq!(added.code, Some(0), "{added:?}");
        assert!(added.stdout.contains("no server runs; it takes effect when one starts"), "{added:?}");
        assert!(text(folder).contains(&line) && !folder.join("certs").exists(), "{added:?}");
    }
    // From another folder.
    let path = folder.join("server.toml").display().to_string();
    let added = client(elsewhere.path(), &["add", "here", "--config", &path, "--yes"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.stderr.contains("without --role and --command this client may run nothing"), "{added:?}");
    assert!(
        folder.join("certs/here.key").exists()
            && text(folder).contains("certificates = [\"certs/here.pem\"]")
    );
    assert_eq!(finish(lictor(folder).arg("check")).code, Some(0));

    let listed = client(folder, &["list"]);
    for line in [
        "boss    boss.pem; commands \"*\", \"@*\"\n".to_owned(),
        format!("desk    {outside}; commands \"@ping\"\n"),
        format!("pinned  sha256:{}; commands \"@ping\"\n", Identity::new("x").sha256()),
    ] {
        if !line.starts_with("pinned") {
            assert!(listed.stdout.contains(&line), "{line}: {listed:?}");
        }
    }
    let json = client(folder, &["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["clients"].as_array().unwrap().len(), 6);
    assert_eq!(json["clients"][2]["name"], "desk");
    assert_eq!(json["clients"][2]["thumbprints"], serde_json::json!([desk.sha256()]));
    assert_eq!(json["clients"][2]["commands"], serde_json::json!(["@ping"]));

    for name in ["here", "a.b", "pinned", "desk", "phone"] {
        assert_eq!(client(folder, &["rm", name, "--yes"]).code, Some(0), "{name}");
    }
    let text = text(folder);
    setup.write();
    assert_eq!(text, self::text(folder));
}

#[test]
fn nothing_is_written_without_a_yes() {
    let setup = setup();
    setup.write();
    let (folder, before) = (setup.folder(), text(setup.folder()));
    for arguments in [&["add", "laptop"][..], &["rm", "boss"]] {
        let asked = client(folder, arguments);
        assert_eq!(asked.code, Some(2), "{asked:?}");
        assert!(
            asked.stdout.contains("@@ -") && asked.stderr.contains("--yes writes without asking"),
            "{asked:?}"
        );
    }
    let add = "client add laptop --command echo";
    for no in ["n\r", "\r", "\x04"] {
        assert_eq!(talk(folder, add, &["", "Write this? [y/N]", no, "nothing was written"]), 1);
    }
    assert!(text(folder) == before && !folder.join("certs").exists());

    // Somebody else edits the file meanwhile.
    let edit =
        ["", "Write this? [y/N]", "!echo '# new' >> server.toml", "", "y\r", "it has changed meanwhile"];
    let shell = format!("!cd '{}' && echo '# new' >> server.toml", folder.display());
    let edit: Vec<_> =
        edit.iter().map(|word| if word.starts_with('!') { shell.as_str() } else { word }).collect();
    assert_eq!(talk(folder, add, &edit), 1);
    assert_eq!(text(folder), before.clone() + "# new\n");
    assert_eq!(talk(folder, add, &["", "Write this? [y/N]", "y\r", "added the client laptop"]), 0);
    let removed =
        talk(folder, "client rm laptop", &["", "Write this? [y/N]", "yes\r", "removed the client laptop"]);
    assert_eq!((removed, text(folder)), (0, before + "# new\n"));
}

#[test]
fn a_change_that_would_be_faulty_is_refused_with_the_fault() {
    let setup = setup();
    setup.write();
    let (folder, before) = (setup.folder(), text(setup.folder()));
    let pinned = Identity::read(folder, "boss").sha256();
    for (arguments, words) in [
        (
            &["add", "boss"][..],
            "server.toml has a client boss already, in line 17; to let it do more, edit its `commands` there: `lictor check --as boss CMD`",
        ),
        (&["add", "x", "--role", "al"], "a role that does not exist"),
        (&["add", "x", "--command", "a  b"], "server.toml:"),
        (&["add", "x", "--thumbprint", "12"], "it has 2 hexadecimal digits"),
        (&["add", "x", "--thumbprint", &pinned], "`boss` and `x` pin the same certificate"),
        (&["add", "x", "--certificate", "no.pem"], "no.pem"),
        (&["add", "x", "--uri", "spiffe://a/b"], "authorities"),
        (&["add", "x y"], "can't stand in a name"),
        (&["add", "x", "--config", "no.toml"], "there is no no.toml"),
        (&["rm", "bos"], "server.toml has no client bos; it has boss"),
    ] {
        let refused = client(folder, &[arguments, &["--yes"]].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(words), "{words}: {refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    }
    fs::create_dir(folder.join("certs")).unwrap();
    fs::write(folder.join("certs/laptop.key"), "").unwrap();
    let lone = client(folder, &["add", "laptop", "--yes"]);
    assert!(lone.stderr.contains("certs/laptop.key exists without certs/laptop.pem"), "{lone:?}");
    assert!(lone.code == Some(2) && text(folder) == before);

    // Faults that the file had before are no reason to refuse.
    fs::write(folder.join("server.toml"), before.replace("[\"*\", \"@*\"]", "[\"*\", 5]")).unwrap();
    let thumbprint = Identity::new("y").sha256();
    let added = client(folder, &["add", "y", "--thumbprint", &thumbprint, "--yes"]);
    assert!(added.code == Some(0) && added.stderr.contains("was not reloaded"), "{added:?}");
    fs::write(folder.join("server.toml"), before.replace("[\"*\", \"@*\"]", "[hunter2")).unwrap();
    let broken = client(folder, &["rm", "boss", "--yes"]);
    assert!(broken.code == Some(2) && broken.stderr.contains("this is not TOML"), "{broken:?}");
    assert!(!format!("{broken:?}").contains("hunter2"), "{broken:?}");
}

#[test]
fn a_certificate_that_is_not_a_clients_is_refused() {
    let (folder, _port) = initialized();
    let (folder, before) = (folder.path(), text(folder.path()));
    let sha256 = finish(lictor(folder).args(["cert", "thumbprint", "certs/server.pem"])).stdout;
    let sha256 = sha256.split_whitespace().find(|word| word.len() >= 64).unwrap().to_owned();
    let authority = Authority::new("ca");
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    let servers =
        "certs/server.pem is the server's own certificate, and whoever has the server's key would be";
    for (arguments, words) in [
        (&["add", "server"][..], format!("{servers} server; give the client another name")),
        (&["add", "x", "--certificate", "certs/server.pem"], format!("{servers} x; name the client's own")),
        (&["add", "x", "--thumbprint", &sha256], "is the thumbprint of the server's own".to_owned()),
        (
            &["add", "x", "--certificate", "certs/dev.pem"],
            "`dev` and `x` pin the same certificate".to_owned(),
        ),
    ] {
        let refused = client(folder, &[arguments, &["--yes"]].concat());
        assert!(refused.code == Some(2) && refused.stderr.contains(&words), "{words}: {refused:?}");
        assert!(!refused.stdout.contains("move "), "{refused:?}");
        assert_eq!(text(folder), before);
    }
    fs::write(folder.join("server.toml"), format!("{before}\n[identity]\nauthorities = [\"ca.pem\"]\n"))
        .unwrap();
    let refused = client(folder, &["add", "x", "--certificate", "ca.pem", "--yes"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("ca.pem is the certificate of an authority"),
        "{refused:?}"
    );
    let elsewhere = before.replace("certs/server.pem", "certs/chain.pem");
    fs::rename(folder.join("certs/server.pem"), folder.join("certs/chain.pem")).unwrap();
    fs::write(folder.join("server.toml"), elsewhere).unwrap();
    let refused = client(folder, &["add", "server", "--yes"]);
    let words = "certs/server.key is the server's private key; give the client another name";
    assert!(refused.code == Some(2) && refused.stderr.contains(words), "{refused:?}");
    fs::rename(folder.join("certs/chain.pem"), folder.join("certs/server.pem")).unwrap();
    // One whose key is elsewhere is not to be moved.
    fs::write(folder.join("server.toml"), &before).unwrap();
    fs::rename(folder.join("certs/dev.pem"), folder.join("certs/away.pem")).unwrap();
    fs::write(folder.join("server.toml"), before.replace("dev", "away")).unwrap();
    assert_eq!(client(folder, &["rm", "away", "--yes"]).code, Some(0));
    let added = client(folder, &["add", "away", "--command", "echo", "--yes"]);
    assert!(
        added.code == Some(0) && added.stdout.contains("the key of certs/away.pem is not here"),
        "{added:?}"
    );
}

#[test]
fn a_pattern_is_shown_as_it_will_stand() {
    let setup = setup();
    setup.write();
    let folder = setup.folder();
    let patterns = ["echo \"a b\" *", "echo C:\\x k=v,w # me@host?"];
    let thumbprint = Identity::new("y").sha256();
    let options = ["--thumbprint", &thumbprint, "--command", patterns[0], "--command", patterns[1], "--yes"];
    let added = client(folder, &[&["add", "y"], &options[..]].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    let text = text(folder);
    let line = text.lines().find(|line| line.contains("k=v")).unwrap();
    assert!(added.stdout.contains(&format!("+{line}\n")), "{line}: {added:?}");
    let removed = client(folder, &["rm", "y", "--yes"]);
    assert!(removed.stdout.contains(&format!("-{line}\n")), "{line}: {removed:?}");
}

#[test]
fn who_removes_the_last_client_of_a_verb_is_warned_before_the_question() {
    let setup = setup();
    setup.write();
    let folder = setup.folder();
    let both = "boss is the last client that may run @reload and @status: without it edits are put in force by SIGHUP";
    let asked =
        ["", "warning: boss is the last client", "", "Write this? [y/N]", "n\r", "nothing was written"];
    assert_eq!(talk(folder, "client rm boss", &asked), 1);
    for (name, command, warning) in [
        ("pinger", "@ping", Some(both)),
        ("watcher", "@status", Some("boss is the last client that may run @reload: without it")),
        ("aide", "@reload .", None),
    ] {
        let pin = Identity::new(name).sha256();
        let added = client(folder, &["add", name, "--thumbprint", &pin, "--command", command, "--yes"]);
        assert_eq!(added.code, Some(0), "{added:?}");
        // Without a terminal and --yes nothing is written.
        let told = client(folder, &["rm", "boss"]).stderr;
        match warning {
            Some(warning) => assert!(told.contains(warning), "{warning}: {told}"),
            None => assert!(!told.contains("last client"), "{told}"),
        }
        let told = client(folder, &["rm", name]).stderr;
        assert!(!told.contains("last client"), "{told}");
    }
}

#[test]
fn a_server_that_is_not_reloaded_is_told_of() {
    // It reloads by itself.
    let server = start(setup().server("watch = true"));
    let added = client(server.folder(), &["add", "laptop", "--command", "echo", "--yes"]);
    assert!(
        added.code == Some(0)
            && added.stdout.contains("a running server reloads it by itself")
            && added.stdout.contains("`lictor status` shows whether it did"),
        "{added:?}"
    );
    server.wait_for_log("a reload", |entry| entry.message() == "reloaded");

    // No client here may reload it.
    let server = start(setup());
    server.edit(|text| text.replace("\"@*\"", "\"@ping\""));
    server.signal("HUP");
    server.wait_for_log("a reload", |entry| entry.message() == "reloaded");
    let refused = client(server.folder(), &["add", "phone", "--command", "echo", "--yes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("not reloaded it: no client whose key is here may run @reload\n"),
        "{refused:?}"
    );
    assert!(
        refused
            .stderr
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .contains("the running server does not admit phone yet: send it SIGHUP"),
        "{refused:?}"
    );
    let removed = client(server.folder(), &["rm", "boss", "--yes"]);
    assert!(
        removed.code == Some(3)
            && removed.stderr.contains("the running server still admits boss: send it SIGHUP"),
        "{removed:?}"
    );
    server.edit(|text| text + "\n[clients.boss]\ncertificates = [\"boss.pem\"]\n");
    assert!(text(server.folder()).contains("[clients.phone]"));

    // No client's key is here.
    fs::remove_file(server.folder().join("boss.key")).unwrap();
    fs::remove_file(server.folder().join("certs/phone.key")).unwrap();
    let added = client(server.folder(), &["add", "laptop", "--command", "echo", "--yes"]);
    assert!(added.code == Some(0) && added.stderr.contains("a running server was not reloaded"), "{added:?}");
    let last = "a running server does not admit laptop yet: reload it by SIGHUP (`systemctl reload lictor`)";
    assert!(added.stdout.contains(last), "{added:?}");
}

#[test]
fn the_only_client_that_may_reload_is_removed_by_its_own_key() {
    let server = start(setup());
    let folder = server.folder();
    assert_eq!(client(folder, &["add", "aide", "--command", "@reload", "--yes"]).code, Some(0));
    let mut aide = server.connect(&Identity::read(&folder.join("certs"), "aide"));
    let mut boss = server.connect(&Identity::read(folder, "boss"));
    // Another that may reload is asked first, although it comes later by name.
    let removed = client(folder, &["rm", "aide", "--yes"]);
    assert!(
        removed.code == Some(0) && removed.stdout.contains("live     removed  clients.aide"),
        "{removed:?}"
    );
    aide.read_to_end();
    let removed = client(folder, &["rm", "boss", "--yes"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(
        removed.stdout.ends_with(
            "the server no longer admits boss, by whose key it was reloaded: its connections are closed\n"
        ),
        "{removed:?}"
    );
    boss.read_to_end();
    server.wait_for_log("a reload", |entry| entry.message() == "reloaded");
}
