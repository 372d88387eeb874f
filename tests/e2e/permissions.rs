//! Permission by arguments and by roles: what a client may ask for, and what is left of it after a reload.

use testkit::certs::Identity;
use testkit::components;
use testkit::server::{Server, Setup};

#[test]
fn a_client_may_use_the_arguments_of_its_patterns_and_no_others() {
    let tester = Identity::new("tester");
    let patterns =
        ["echo hello *", r#"echo "a b" "\x2a""#, "body-size .", "@status .", "@commands", "sleep 1 ..."];
    let server = Setup::new().client("tester", &tester, &patterns).echo().hostile("").start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("echo hello world"), "hello world");
    assert_eq!(connection.ask("echo \"hello\" \"\""), "hello ");
    assert_eq!(connection.ask(r#"echo "a b" *"#), "a b *");
    assert_eq!(connection.ask("body-size"), "0");
    assert!(!connection.ask("@status").starts_with("ERR "));
    for forbidden in [
        "echo",
        "echo hello",
        "echo Hello world",
        "echo hello world again",
        "echo a b *",
        "echo \"a b\" c",
        "body-size .",
        "@status metrics",
        "sleep",
        "sleep 10",
    ] {
        let frame = connection.ask_framed(forbidden);
        assert_eq!(frame.failure(), ("forbidden", "not-run"), "{forbidden}");
        let command = forbidden.split(' ').next().unwrap();
        assert_eq!(frame.message, format!("Command {command} is not allowed to this client"));
    }
    let listed = connection.ask("@commands");
    let usages: Vec<&str> = listed.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(
        usages,
        ["body-size .", r#"echo "a b" "\x2a""#, "echo hello *", "sleep 1 ...", "@commands", "@status ."]
    );
}

#[test]
fn each_request_of_a_burst_is_permitted_by_its_own_arguments() {
    let tester = Identity::new("tester");
    for instances in ["per-request", "per-client", "shared"] {
        let keys = format!("instances = \"{instances}\"");
        let setup = Setup::new().client("tester", &tester, &["echo yes *"]);
        let server = setup.plugin("echo", components::echo(), &["echo"], &keys).start();
        let mut connection = server.connect(&tester);
        let word = |number: usize| if number.is_multiple_of(3) { "no" } else { "yes" };
        let burst: String = (0..60).map(|number| format!("echo {} {number}\r\n\r\n", word(number))).collect();
        connection.send(&burst);
        for number in 0..60 {
            let expected = match word(number) {
                "no" => "ERR Command echo is not allowed to this client".to_owned(),
                yes => format!("{yes} {number}"),
            };
            assert_eq!(connection.read_reply(), expected, "{instances} {number}");
        }
    }
}

/// A server with the commands of `hostile`, an operator, and the client `laptop` with these lines.
fn with_laptop(operator: &Identity, laptop: &Identity, lines: &str, sections: &str) -> Server {
    let client = format!("[clients.laptop]\nthumbprints = [\"{}\"]\n{lines}\n{sections}", laptop.sha256());
    Setup::new().master("tester", operator).echo().hostile("").section(&client).start()
}

#[test]
fn a_client_may_run_what_its_roles_say_beside_its_own_commands() {
    let [tester, laptop] = ["tester", "laptop"].map(Identity::new);
    let server = with_laptop(
        &tester,
        &laptop,
        "roles = [\"reader\", \"pinger\"]\ncommands = [\"body-size\"]",
        "[roles.reader]\ncommands = [\"echo public *\"]\n[roles.pinger]\ncommands = [\"@ping\"]\n\
         [roles.another]\ncommands = [\"@whoami\"]",
    );
    let mut connection = server.connect(&laptop);
    assert_eq!(connection.ask("echo public x"), "public x");
    assert_eq!(connection.ask("@ping"), "pong");
    assert_eq!(connection.ask("body-size"), "0");
    for forbidden in ["echo private x", "@whoami"] {
        assert_eq!(connection.ask_framed(forbidden).failure(), ("forbidden", "not-run"), "{forbidden}");
    }
    // The same permission by another way: nothing is taken away.
    let mut operator = server.connect(&tester);
    server.edit(|text| text.replace("\"pinger\"]", "\"another\"]").replace("\"@whoami\"", "\"@ping\""));
    assert_eq!(
        operator.ask("@reload"),
        "live     changed  roles.another.commands\nlive     changed  clients.laptop.roles"
    );
    assert_eq!(connection.ask("@ping"), "pong");
}

#[test]
fn a_narrowed_role_cuts_off_what_its_patterns_no_longer_allow() {
    let [tester, laptop] = ["tester", "laptop"].map(Identity::new);
    let role = "[roles.sleeper]\ncommands = [\"sleep *\", \"echo\"]";
    let server = with_laptop(&tester, &laptop, "roles = [\"sleeper\"]", role);
    let mut operator = server.connect(&tester);
    let mut connection = server.connect(&laptop);
    connection.send("sleep 400000\r\nSequence: long\r\n\r\nsleep 3000\r\nSequence: short\r\n\r\n");
    assert_eq!(connection.ask_framed("echo before").text(), "before");
    server.edit(|text| text.replace("\"sleep *\"", "\"sleep 3*\""));
    assert_eq!(operator.ask("@reload"), "live     changed  roles.sleeper.commands");
    let stopped = connection.read_frame();
    assert_eq!((stopped.field("Sequence"), stopped.failure()), (Some("long"), ("cancelled", "unknown")));
    assert_eq!(stopped.message, "The permission was withdrawn");
    assert_eq!(connection.ask_framed("sleep 400000").failure(), ("forbidden", "not-run"));
    let ended = connection.read_frame();
    assert_eq!(ended.field("Sequence"), Some("short"));
    ended.text();
}

#[test]
fn arguments_are_taken_away_even_if_the_reload_then_fails() {
    let [tester, laptop] = ["tester", "laptop"].map(Identity::new);
    let server = with_laptop(&tester, &laptop, "commands = [\"echo a* *\"]", "");
    let mut operator = server.connect(&tester);
    let mut connection = server.connect(&laptop);
    std::fs::write(server.folder().join("broken.wasm"), "no component").unwrap();
    server.edit(|text| {
        text.replace("\"echo a* *\"", "\"echo * b*\"") + "\n[plugins.broken]\ncomponent = \"broken.wasm\"\n"
    });
    let failed = operator.ask_framed("@reload");
    assert_eq!(failed.failure().0, "conflict");
    assert!(failed.message.contains("clients.laptop.commands"), "{}", failed.message);
    assert_eq!(connection.ask("echo ax by"), "ax by");
    for forbidden in ["echo ax cy", "echo cx by"] {
        assert_eq!(connection.ask_framed(forbidden).failure(), ("forbidden", "not-run"), "{forbidden}");
    }
}

#[test]
fn a_plugin_runs_commands_with_the_arguments_that_it_and_its_client_are_granted() {
    let tester = Identity::new("tester");
    let patterns = ["run ...", "echo * public", "sleep"];
    let setup =
        Setup::new().client("tester", &tester, &patterns).master("operator", &Identity::new("operator"));
    let setup = setup.echo().hostile("").plugin("reaching", components::reaching(), &["run"], "");
    let grants =
        "[plugins.reaching.grants]\nfiles = []\ncommands = [\"echo own *\", \"run ...\", \"sleep *\"]";
    let server = setup.section(grants).start();
    let mut connection = server.connect(&tester);
    assert_eq!(connection.ask("run echo own public"), "own public");
    assert_eq!(connection.ask("run run echo own public"), "own public");
    // The client may, but the plugin may not.
    assert_eq!(connection.ask("run echo other public"), "forbidden: The plugin reaching may not run echo");
    // The plugin may, but the client may not.
    assert_eq!(
        connection.ask("run echo own private"),
        "forbidden: Command echo is not allowed to this client"
    );
    assert_eq!(
        connection.ask("run run echo own private"),
        "forbidden: Command echo is not allowed to this client"
    );
}

#[test]
fn a_command_that_a_plugin_runs_is_cut_off_by_its_own_arguments() {
    let [tester, laptop] = ["tester", "laptop"].map(Identity::new);
    let client = format!(
        "[clients.laptop]\nthumbprints = [\"{}\"]\ncommands = [\"run ...\", \"sleep *\"]",
        laptop.sha256()
    );
    let setup = Setup::new().master("tester", &tester).echo().hostile("");
    let setup =
        setup.plugin("reaching", components::reaching(), &["run"], "timeout = \"10m\"").section(&client);
    let server = setup.section("[plugins.reaching.grants]\nfiles = []\ncommands = [\"sleep 4*\"]").start();
    let mut operator = server.connect(&tester);
    let mut connection = server.connect(&laptop);
    for (from, to, key) in [
        ("\"sleep 4*\"", "\"sleep 5*\"", "plugins.reaching.grants"),
        ("\"sleep *\"", "\"sleep 5\"", "clients.laptop.commands"),
    ] {
        let whole = std::fs::read_to_string(server.config()).unwrap();
        connection.send("run sleep 4000\r\nSequence: s\r\n\r\n");
        assert_eq!(
            connection.ask_framed("run nothing").text(),
            "forbidden: The plugin reaching may not run nothing"
        );
        server.edit(|text| text.replace(from, to));
        assert_eq!(operator.ask("@reload"), format!("live     changed  {key}"));
        assert_eq!(connection.read_frame().text(), "cancelled: The permission was withdrawn");
        server.edit(|_| whole.clone());
        operator.ask("@reload");
    }
}
