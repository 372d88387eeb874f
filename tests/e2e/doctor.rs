//! `lictor doctor` finds each trouble that was made for it, and none without.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use testkit::certs::Identity;
use testkit::server::Setup;
use testkit::tools::{finish, lictor, program};

/// Prepares a server at an address of its own, with an operator whose key is here.
fn setup() -> (Setup, Identity, SocketAddr) {
    let address = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 77), 0)).unwrap().local_addr().unwrap();
    let operator = Identity::new("operator");
    let setup = Setup::new().echo().server(&format!("listen = [\"{address}\"]"));
    let setup =
        setup.section("[clients.operator]\ncertificates = [\"operator.pem\"]\ncommands = [\"*\", \"@*\"]");
    // As much as any machine has.
    let setup = setup
        .section("[limits]\nprocess_memory = \"512MiB\"\ncompile_memory = \"256MiB\"\nplugin_memory = \"128MiB\"\nconnections = 100");
    operator.write(setup.folder(), "operator");
    (setup, operator, address)
}

/// The findings of a run, and its exit code.
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Report {
    fn of(command: &mut Command) -> Self {
        let finished = finish(command.arg("--json"));
        let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
        Self { code: finished.code, findings: report["findings"].as_array().unwrap().clone() }
    }

    fn in_folder(folder: &Path) -> Self {
        Self::of(lictor(folder).arg("doctor"))
    }

    /// Asserts that there is such a finding, with a remedy in it or beside it.
    #[track_caller]
    fn has(&self, verdict: &str, subject: &str, words: &str) {
        let fits = |finding: &&Value| {
            finding["verdict"] == verdict
                && finding["subject"] == subject
                && finding["what"].as_str().unwrap().contains(words)
        };
        assert!(
            self.findings.iter().any(|finding| fits(&finding)),
            "{verdict} {subject} {words}: {:#?}",
            self.findings
        );
        let code = match verdict {
            "fault" => self.code != Some(0),
            _ => true,
        };
        assert!(code, "{:?}", self.code);
    }

    /// Returns the findings that are not good.
    fn bad(&self) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["verdict"] != "ok").collect()
    }
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let (setup, _, address) = setup();
    setup.write();
    let report = Report::in_folder(setup.folder());
    assert_eq!((report.bad(), report.code), (Vec::<&Value>::new(), Some(0)));
    report.has("ok", "config", "plugins that load: 1, clients: 1");
    report.has("ok", "address", &format!("{address} is free"));
    report.has("ok", "names", "localhost, 127.0.0.1");
    let server = setup.start();
    let text = finish(lictor(server.folder()).arg("doctor"));
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.stdout.contains("\nok       server    it runs, version "), "{text:?}");
    assert!(text.stdout.ends_with("\nfaults: 0, warnings: 0\n"), "{text:?}");
}

#[test]
fn a_server_whose_config_is_not_that_on_the_disk_is_told() {
    let (setup, operator, _) = setup();
    let server = setup.start();
    server.edit(|text| text + "# a comment\n");
    let report = Report::in_folder(server.folder());
    report.has("warning", "server", "have changed since the server read them");
    assert_eq!(report.code, Some(0));
    server.edit(|text| text + "[nosuch]\n");
    server.connect(&operator).ask("@reload");
    let report = Report::in_folder(server.folder());
    report.has("fault", "config", "nosuch");
    assert_eq!(report.code, Some(2));
    server.edit(|text| text.replace("[nosuch]\n", "").replace("connections = 100", "connections = 90"));
    Report::in_folder(server.folder()).has("warning", "server", "the last reload failed");
    server.connect(&operator).ask("@reload");
    Report::in_folder(server.folder()).has("warning", "server", "wait for a restart: limits.connections");
}

#[test]
fn an_address_that_another_program_has_is_told() {
    let (setup, _, address) = setup();
    let taken = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || while taken.accept().is_ok() {});
    setup.write();
    let report = Report::in_folder(setup.folder());
    report.has("fault", "server", &address.to_string());
    assert_eq!(report.code, Some(1));
    // Without a key it cannot be asked, and may be the server.
    fs::remove_file(setup.folder().join("operator.key")).unwrap();
    let report = Report::in_folder(setup.folder());
    report.has("warning", "server", "a running server is not asked: ");
    report.has("warning", "address", "Address already in use");
}

#[test]
fn files_that_others_read_or_write_are_told() {
    let (setup, ..) = setup();
    let config = setup.write();
    let key = setup.folder().join("server.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    Report::in_folder(setup.folder()).has("warning", "config", "server.key");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o666)).unwrap();
    let report = Report::in_folder(setup.folder());
    report.has("fault", "config", "chmod");
    report.has("ok", "user", "owns the server's key");
    assert_eq!(report.code, Some(2));
    fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(setup.folder().join("operator.pem")).unwrap();
    Report::in_folder(setup.folder()).has("fault", "config", "operator.pem");
}

#[test]
fn certificates_that_do_not_serve_are_told() {
    let (setup, ..) = setup();
    setup.write();
    for (identity, verdict, subject, words) in [
        (Identity::expired("localhost"), "fault", "dates", "it expired at 2021-01-01"),
        (Identity::not_yet_valid("localhost"), "fault", "dates", "it is not valid before 2200-01-01"),
        (Identity::new("localhost"), "warning", "names", "names no host"),
    ] {
        identity.write(setup.folder(), "server");
        Report::in_folder(setup.folder()).has(verdict, subject, words);
    }
    Identity::of_server().write(setup.folder(), "server");
    Identity::of_server().write(setup.folder(), "other");
    fs::rename(setup.folder().join("other.key"), setup.folder().join("server.key")).unwrap();
    let report = Report::in_folder(setup.folder());
    assert_ne!(report.code, Some(0));
    report.has("fault", "config", "server.key");
}

#[test]
fn limits_of_the_system_are_told() {
    let (setup, ..) = setup();
    let setup = setup.server("watch = true");
    setup.write();
    let run = |before: &str| {
        let mut shell = lictor(setup.folder());
        shell = testkit::tools::at_home("sh".as_ref(), shell.get_current_dir().unwrap());
        shell.args(["-c", &format!("{before} exec \"$0\" doctor \"$@\"")]).arg(program());
        shell
    };
    let report = Report::of(&mut run("ulimit -n 200; ulimit -Hn 200;"));
    report.has("warning", "files", "may open 200 files, and the config may need 228");
    report.has("ok", "watch", "can be watched");
    let report = Report::of(&mut run("ulimit -v 4000000;"));
    report.has("fault", "config", "");
    let text = fs::read_to_string(setup.folder().join("server.toml")).unwrap();
    fs::write(setup.folder().join("server.toml"), text.replace("512MiB", "900000GiB")).unwrap();
    Report::in_folder(setup.folder()).has("warning", "memory", "the server and its compiler may take ");
}

/// Runs doctor in namespaces of its own, after some commands; `None` if that is impossible here.
#[expect(clippy::print_stdout, reason = "what is not tested has to be told")]
fn apart(namespaces: &str, before: &str, folder: &Path) -> Option<Report> {
    let run = |line: &str| {
        let mut command = testkit::tools::at_home("unshare".as_ref(), folder);
        command.args([namespaces, "sh", "-c", line]).arg(program());
        command
    };
    let tried = run(before).output();
    if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
        println!("SKIPPED: `unshare {namespaces}` with {before:?} is impossible here: {tried:?}");
        return None;
    }
    Some(Report::of(&mut run(&format!("{before} && exec \"$0\" doctor \"$@\""))))
}

#[test]
fn a_disk_that_is_full_or_cannot_be_written_is_told() {
    let (setup, ..) = setup();
    let setup = setup.section("[state]\nengine = \"sqlite\"\npath = \"state/state.db\"");
    fs::create_dir(setup.folder().join("state")).unwrap();
    setup.write();
    let at = "mount -t tmpfs -o size=64k tmpfs state";
    if let Some(report) = apart("-m", at, setup.folder()) {
        report.has("fault", "disk", "for the state, has ");
    }
    if let Some(report) = apart("-m", &format!("{at} && mount -o remount,ro state"), setup.folder()) {
        report.has("fault", "disk", "the state cannot be written in ");
    }
    if let Some(report) = apart("-m", "mount -t tmpfs -o nr_inodes=1 tmpfs state", setup.folder()) {
        report.has("fault", "disk", "takes no more files");
    }
    Report::in_folder(setup.folder()).has("ok", "disk", "for the state, has ");
}

#[test]
fn inotify_that_is_used_up_is_told() {
    let (setup, ..) = setup();
    let setup = setup.server("watch = true");
    setup.write();
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    if let Some(report) = apart("-Ur", limit, setup.folder()) {
        report.has("warning", "watch", "fs.inotify.max_user_instances");
    }
}

#[test]
fn a_clock_that_is_behind_is_told() {
    let (setup, ..) = setup();
    let config = setup.write();
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    fs::File::options().append(true).open(config).unwrap().set_modified(tomorrow).unwrap();
    Report::in_folder(setup.folder()).has("warning", "clock", "server.toml was changed at ");
}

#[test]
fn another_user_than_the_servers_is_told() {
    let (setup, ..) = setup();
    setup.write();
    let key = setup.folder().join("server.key");
    if std::os::unix::fs::chown(&key, Some(12345), None).is_err() {
        return;
    }
    let report = Report::in_folder(setup.folder());
    let user = report.findings.iter().find(|finding| finding["subject"] == "user").unwrap();
    assert_eq!(user["verdict"], "warning", "{user}");
    assert!(
        user["help"]
            .as_str()
            .unwrap()
            .starts_with("run it as the server's user: `runuser -u \"$(id -nu 12345)\"")
    );
}
