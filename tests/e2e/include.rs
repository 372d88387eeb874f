//! `include`: clients and plugins that are dropped in as files, and taken out again.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::components;
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{finish, lictor};

use crate::reload::is_cut_off;

/// A server that includes the files of `conf.d`, which is empty, and its operator.
fn including(keys: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup =
        Setup::new().top("include = [\"conf.d/*.toml\"]").server(keys).master("tester", &tester).echo();
    fs::create_dir(setup.folder().join("conf.d")).unwrap();
    (setup.start(), tester)
}

fn client(name: &str, identity: &Identity) -> String {
    format!("[clients.{name}]\nthumbprints = [\"{}\"]\ncommands = [\"*\", \"@ping\"]\n", identity.sha256())
}

/// Puts a file into `conf.d` the way an editor or a package manager does.
fn drop_in(server: &Server, name: &str, text: &str) {
    let folder = server.folder().join("conf.d");
    fs::write(folder.join(".new"), text).unwrap();
    fs::rename(folder.join(".new"), folder.join(name)).unwrap();
}

fn copy_of_echo(folder: &Path) {
    fs::copy(components::echo(), folder.join("again.wasm")).unwrap();
}

#[test]
fn a_client_and_a_plugin_are_dropped_in_and_taken_out_by_reloads() {
    let (server, tester) = including("");
    let (mut operator, other) = (server.connect(&tester), Identity::new("other"));
    assert!(server.printed().contains("no file matches `conf.d/*.toml`"), "{}", server.printed());

    drop_in(&server, "other.toml", &client("other", &other));
    assert_eq!(operator.ask("@reload"), "live     added    clients.other");
    copy_of_echo(&server.folder().join("conf.d"));
    drop_in(&server, "again.toml", "[plugins.again]\ncomponent = \"again.wasm\"\n");
    assert_eq!(operator.ask("@reload"), "live     added    plugins.again");
    let mut connection = server.connect(&other);
    assert_eq!(connection.ask("again hello"), "hello");

    fs::remove_file(server.folder().join("conf.d/again.toml")).unwrap();
    assert_eq!(operator.ask("@reload"), "live     removed  plugins.again");
    assert_eq!(connection.ask_framed("again hello").failure().0, "unknown-command");
    fs::remove_file(server.folder().join("conf.d/other.toml")).unwrap();
    assert_eq!(operator.ask("@reload"), "live     removed  clients.other");
    is_cut_off(&mut connection, "is unknown");
}

#[test]
fn a_watched_folder_is_read_again_when_a_file_comes_or_goes() {
    let (server, _) = including("watch = true");
    let other = Identity::new("other");
    let soon = Duration::from_secs(10);
    let begin = Instant::now();
    drop_in(&server, "other.toml", &client("other", &other));
    server.wait_for_log("the reload", |entry| entry.message() == "reloaded");
    let mut connection = server.connect(&other);
    assert_eq!(connection.ask("echo in"), "in");
    // A change in place counts as well.
    fs::write(server.folder().join("conf.d/other.toml"), client("other", &other).replace("\"*\", ", ""))
        .unwrap();
    eventually("the permission to be gone", || {
        (connection.ask_framed("echo in").status == "ERR").then_some(())
    });
    fs::remove_file(server.folder().join("conf.d/other.toml")).unwrap();
    is_cut_off(&mut connection, "is unknown");
    assert!(begin.elapsed() < 3 * soon);
}

#[test]
fn what_is_no_readable_file_is_told_and_not_left_out() {
    let (server, tester) = including("");
    let folder = server.folder().join("conf.d");
    let mut operator = server.connect(&tester);
    let mut refused = |words: &str| {
        let failed = operator.ask_framed("@reload");
        assert!(failed.message.contains("can't be included"), "{words}: {failed:?}");
        let checked = finish(lictor(server.folder()).arg("check"));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stderr.contains(words), "{words}: {checked:?}");
    };
    let odd = folder.join(OsStr::from_bytes(b"\xff.toml"));
    fs::write(&odd, "").unwrap();
    refused("its name is not UTF-8");
    fs::remove_file(odd).unwrap();
    fs::create_dir(folder.join("x.toml")).unwrap();
    refused("conf.d/x.toml can't be included");
    fs::remove_dir(folder.join("x.toml")).unwrap();
    symlink("nowhere", folder.join("x.toml")).unwrap();
    refused("there is no such file");
    fs::remove_file(folder.join("x.toml")).unwrap();
    symlink("../server.toml", folder.join("x.toml")).unwrap();
    refused("this is the main file itself");
    fs::remove_file(folder.join("x.toml")).unwrap();
    fs::write(folder.join("a.toml"), "").unwrap();
    fs::hard_link(folder.join("a.toml"), folder.join("x.toml")).unwrap();
    refused("conf.d/a.toml under another name");
    fs::remove_file(folder.join("x.toml")).unwrap();
    fs::set_permissions(folder.join("a.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    refused("users other than its owner can write to it");
    fs::set_permissions(folder.join("a.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    refused("conf.d can't be included");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(operator.ask("@reload"), "nothing has changed");
}

/// Links that the operator made before there was anything behind them.
#[test]
fn no_plugin_reads_a_file_that_is_to_be_included() {
    let tester = Identity::new("tester");
    let grants =
        "[plugins.reaching.grants]\nfiles = [\"open/inner\", \"open/beside\", \"open/notes\"]\ncommands = []";
    let setup = Setup::new().top("include = [\"conf.d/*.toml\", \"*.inc\"]").master("tester", &tester);
    let setup = setup.plugin("reaching", components::reaching(), &["read"], grants);
    let folder = setup.folder().to_owned();
    for part in ["conf.d", "open"] {
        fs::create_dir(folder.join(part)).unwrap();
    }
    symlink("../conf.d/n.toml", folder.join("open/inner")).unwrap();
    symlink("../n.inc", folder.join("open/beside")).unwrap();
    symlink("../n.txt", folder.join("open/notes")).unwrap();
    let server = setup.start();
    let mut connection = server.connect(&tester);
    for (link, file, code) in [
        ("open/inner", "conf.d/n.toml", Some("denied")),
        ("open/beside", "n.inc", Some("denied")),
        ("open/notes", "n.txt", None),
    ] {
        assert_eq!(connection.ask_framed(&format!("read {link}")).failure().0, "not-found");
        fs::write(folder.join(file), "# read").unwrap();
        let read = connection.ask_framed(&format!("read {link}"));
        match code {
            Some(code) => assert_eq!(read.failure().0, code, "{file}: {}", read.text()),
            None => assert_eq!(read.text(), "# read", "{file}"),
        }
    }
}

#[test]
fn a_file_of_two_patterns_is_read_once_however_its_folder_is_spelled() {
    let tester = Identity::new("tester");
    let patterns =
        "include = [\"conf.d/*.toml\", \"./conf.d/*.toml\", \"link/a.toml\", \"conf.d/../conf.d/a.toml\"]";
    let setup = Setup::new().top(patterns).master("tester", &tester).echo();
    let folder = setup.folder().to_owned();
    fs::create_dir(folder.join("conf.d")).unwrap();
    symlink("conf.d", folder.join("link")).unwrap();
    fs::write(folder.join("conf.d/a.toml"), client("other", &Identity::new("other"))).unwrap();
    let server = setup.start();
    assert!(server.connect(&tester).ask("@clients").contains("other"));
}

#[test]
fn a_fault_in_an_included_file_names_it_and_changes_nothing() {
    let (server, tester) = including("");
    let mut operator = server.connect(&tester);
    for (text, place, words) in [
        ("\n[clients.x]\nthumbprints = []\n", "2", "has neither `thumbprints` nor `certificates`"),
        ("\n\n[log]\nlevel = \"debug\"\n", "3", "`log` can't stand in an included file"),
        ("[clients.tester]\nthumbprints = []\n", "1", "[clients.tester] stands twice"),
        ("[clients.x\n", "1", "this is not TOML"),
    ] {
        drop_in(&server, "x.toml", text);
        let failed = operator.ask_framed("@reload");
        assert_eq!(failed.failure(), ("conflict", "failed"), "{failed:?}");
        let told = format!("conf.d/x.toml:{place}: ");
        assert!(failed.message.contains(&told) && failed.message.contains(words), "{}", failed.message);
        let checked = finish(lictor(server.folder()).arg("check"));
        assert_eq!(checked.code, Some(2), "{checked:?}");
        let shown = format!("conf.d/x.toml:{place}:");
        assert!(checked.stderr.contains(&shown) && checked.stderr.contains(words), "{checked:?}");
        assert_eq!(operator.ask("echo in"), "in");
    }
}

#[test]
fn what_is_told_of_one_client_or_plugin_names_its_own_file_and_line() {
    let (tester, brief) = (Identity::new("tester"), Identity::expired("brief"));
    let setup = Setup::new().top("include = [\"conf.d/*.toml\"]").master("tester", &tester);
    let folder = setup.folder().join("conf.d");
    fs::create_dir(&folder).unwrap();
    brief.write(&folder, "brief");
    let report_until = crate::expires::from_now(Duration::from_secs(3600));
    let client = format!(
        "# brief\n\n[clients.brief]\ncertificates = [\"brief.pem\"]\ncommands = [\"@ping\"]\n\
         expires = 2021-01-01T00:00:00Z\nreport_until = {report_until}\n"
    );
    fs::write(folder.join("brief.toml"), client).unwrap();
    fs::copy(components::echo(), folder.join("echo.wasm")).unwrap();
    let plugin = "# echo\n[plugins.echo]\ncomponent = \"echo.wasm\"\ncommands = [\"echo\", \"ecko\"]\n";
    fs::write(folder.join("echo.toml"), plugin).unwrap();
    setup.write();
    let told = [
        ("conf.d/brief.toml:3", "conf.d/brief.pem expired at "),
        ("conf.d/brief.toml:3", "the admission of the client brief expired at "),
        ("conf.d/brief.toml:3", "the client brief may run every plugin's command"),
        ("conf.d/echo.toml:2", "the plugin `echo` serves `ecko`, which its `describe` does not name"),
    ];
    let checked = finish(lictor(setup.folder()).arg("check"));
    for (place, words) in told {
        let mut lines = checked.stderr.lines().skip_while(|line| !line.contains(words));
        let next = lines.nth(1).unwrap_or_default();
        assert!(next.ends_with(&format!("--> {place}")), "{words}: {}", checked.stderr);
    }
    let server = setup.start();
    for (place, words) in told {
        let entry = server.wait_for_log(words, |entry| {
            entry.text("warning").is_some_and(|warning| warning.contains(words))
        });
        let warning = entry.text("warning").unwrap();
        assert!(warning.split(": ").next().unwrap().ends_with(place), "{warning}");
    }
}

#[test]
fn a_folder_that_others_may_write_to_is_told_once_for_all_its_files() {
    let tester = Identity::new("tester");
    let setup =
        Setup::new().top("include = [\"conf.d/*.toml\", \"conf.d/one.conf\"]").master("tester", &tester);
    let folder = setup.folder().join("conf.d");
    fs::create_dir(&folder).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for name in ["one.conf", "two.toml", "three.toml"] {
        let (stem, identity) = (name.split('.').next().unwrap(), Identity::new(name));
        identity.write(&folder, stem);
        let pinned = format!("[clients.{stem}]\ncertificates = [\"{stem}.pem\"]\ncommands = [\"@ping\"]\n");
        fs::write(folder.join(name), pinned).unwrap();
        [name.to_owned(), format!("{stem}.pem")].iter().for_each(|name| mode(&folder.join(name), 0o644));
    }
    mode(&folder, 0o775);
    setup.write();
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.stderr.matches("775").count(), 1, "{}", checked.stderr);
    assert!(
        checked.stderr.contains("warning: others may add files to the included folder conf.d"),
        "{checked:?}"
    );
    mode(&folder.join("two.toml"), 0o664);
    let checked = finish(lictor(setup.folder()).arg("check"));
    assert!(checked.stderr.contains("its group may write to it: its mode is 664"), "{checked:?}");
}
