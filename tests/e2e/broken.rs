//! Calls that break off: the message to the client, and the advice to the operator.

use testkit::certs::Identity;
use testkit::components::{self, Minimal};
use testkit::server::{Entry, Server, Setup};

/// Commands, and the instructions that break them off.
const BREAKING: [(&str, &str); 11] = [
    // The stack pointer of an empty stack, minus a frame; the same, and a read from there on; another
    // pointer.
    ("below", "(i32.store (i32.const -16) (i32.const 1))"),
    ("across", "(drop (i64.load offset=12 (i32.const -16)))"),
    ("beyond", "(i32.store (i32.const 0x7fff0000) (i32.const 1))"),
    ("declared", "(drop (memory.grow $small (i32.const 2))) unreachable"),
    ("divided", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
    ("endless", "(call $again)"),
    ("whole", "(if (i32.eq (memory.grow $plain (i32.const 65536)) (i32.const -1)) (then unreachable))"),
    (
        "full",
        "(if (i32.eq (table.grow $most (ref.null func) (i32.const 30000)) (i32.const -1)) (then unreachable))",
    ),
    ("few", "(drop (table.grow $few (ref.null func) (i32.const 2))) unreachable"),
    ("coped-divided", "(drop (memory.grow (i32.const 3000))) (drop (i32.div_u (i32.const 1) (i32.const 0)))"),
    ("coped-endless", "(drop (memory.grow (i32.const 3000))) (call $again)"),
];

/// A command, the code and the words of its failure, and a part of the advice.
const BROKEN: [(&str, &str, &str, Option<&str>); 13] = [
    ("deep", "plugin-trapped", "just below address 0: most likely its stack is used up", STACK),
    ("below", "plugin-trapped", "at 0xfffffff0, just below address 0: most likely", STACK),
    ("across", "plugin-trapped", "at 0xfffffffc, just below address 0: most likely", STACK),
    ("beyond", "plugin-trapped", "trapped: out of bounds memory access (request", None),
    ("divided", "plugin-trapped", "trapped: integer divide by zero (request", None),
    ("endless", "plugin-trapped", "trapped: its call stack is exhausted", Some("512 KiB is fixed")),
    (
        "declared",
        "plugin-limit",
        "trapped after it needed more than the 131072 bytes of memory that it declares",
        Some("--max-memory"),
    ),
    (
        "whole",
        "plugin-limit",
        "trapped after it needed more than its 8388608 bytes of memory",
        Some("`memory`"),
    ),
    ("full", "plugin-limit", "trapped after it needed more than 20000 elements in a table", Some("several")),
    (
        "few",
        "plugin-limit",
        "needed more than the 2 elements of a table that it declares",
        Some("that table"),
    ),
    ("coped-divided", "plugin-trapped", "trapped: integer divide by zero (request", None),
    ("coped-endless", "plugin-trapped", "trapped: its call stack is exhausted", Some("512 KiB is fixed")),
    ("grow", "plugin-limit", "needed more than its 8388608 bytes of memory", Some("`memory`")),
];

const TABLES: &str = "(table $most 1 funcref) (table $few 1 2 funcref)";

const STACK: Option<&str> = Some("-z stack-size=");

/// The client learns the cause, and the operator the remedy.
#[test]
fn what_broke_a_call_off_says_what_mends_it() {
    let tester = Identity::new("tester");
    let mut setup =
        Setup::new().master("tester", &tester).echo().hostile("memory = \"8MiB\"\nhost_calls = 1");
    for (name, instructions) in BREAKING {
        let component = Minimal::new(&[name])
            .in_its_module(
                &format!("{TABLES} (memory $small 1 2) (memory $plain 1) (func $again (call $again))"),
                "",
            )
            .handling_by(instructions);
        let component = component.write(setup.folder(), name);
        setup = setup.plugin(name, &component, &[name], "memory = \"8MiB\"");
    }
    let server = setup.start();
    let mut connection = server.connect(&tester);
    for (command, code, words, advice) in BROKEN {
        let frame = connection.ask_framed(command);
        assert_eq!(frame.failure(), (code, "unknown"), "{command}: {}", frame.message);
        assert!(frame.message.contains(words), "{command}: {}", frame.message);
        let reason = frame.message.split(" (request").next().unwrap();
        let broke = server.wait_for_log(command, |entry| {
            entry.message() == "plugin broke off"
                && entry.text("command") == Some(command)
                && entry.text("reason").is_some_and(|told| reason.ends_with(told))
        });
        let told = broke.text("advice");
        assert_eq!(told.is_some(), advice.is_some(), "{command}: {broke:?}");
        assert!(advice.is_none_or(|advice| told.unwrap().contains(advice)), "{command}: {broke:?}");
    }
    // A failed allocation that a call survived before something else ended it is reported besides, once.
    let is_told = |entry: &Entry| entry.message() == "a call got no more memory";
    server.wait_for_log("the last", |entry| is_told(entry) && entry.text("plugin") == Some("coped-endless"));
    let log = server.log();
    let coped = log.iter().filter(|entry| is_told(entry));
    let coped: Vec<_> = coped.filter_map(|entry| entry.text("plugin")).collect();
    assert_eq!(coped, ["coped-divided", "coped-endless"]);
}

/// A plugin whose `command` runs these instructions and waits for a minute.
fn waiting(command: &str, instructions: &str) -> Minimal {
    let host = r#"
        (import "wasi:io/poll@0.2.0" (instance $poll
          (export "pollable" (type $pollable (sub resource)))
          (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $pollable (type $outer))
          (export "pollable" (type $pollable (eq $outer)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))"#;
    let imports = r#"
        (import "wait" "subscribe" (func $subscribe (param i64) (result i32)))
        (import "wait" "block" (func $block (param i32)))"#;
    let with =
        r#"(with "wait" (instance (export "subscribe" (func $subscribe)) (export "block" (func $block))))"#;
    Minimal::new(&[command])
        .beside(host)
        .in_its_module(imports, with)
        .handling_by(&format!("{instructions} (call $block (call $subscribe (i64.const 60000000000)))"))
}

/// A plugin that survives a failed allocation answers, and the operator still learns of it.
#[test]
fn a_call_that_copes_with_too_little_memory_is_told_to_the_operator() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let component = Minimal::new(&["coped"]).handling_by("(drop (memory.grow (i32.const 1000)))");
    let component = component.write(setup.folder(), "coped");
    let late = Minimal::new(&["late"])
        .handling_by("(drop (memory.grow (i32.const 1000))) (loop $again (br $again))");
    let late = late.write(setup.folder(), "late");
    let waits = waiting("waits", "(drop (memory.grow (i32.const 1000)))").write(setup.folder(), "waits");
    let server = setup
        .plugin("coped", &component, &["coped"], "memory = \"8MiB\"")
        .plugin("late", &late, &["late"], "memory = \"8MiB\"\ntimeout = \"200ms\"")
        .plugin("waits", &waits, &["waits"], "memory = \"8MiB\"\ntimeout = \"200ms\"")
        .start();
    assert_eq!(server.connect(&tester).ask("coped"), "ok");
    for command in ["late", "waits"] {
        let frame = server.connect(&tester).ask_framed(command);
        assert_eq!(frame.failure(), ("timeout", "unknown"), "{}", frame.message);
    }
    for plugin in ["coped", "late", "waits"] {
        let told = server.wait_for_log(plugin, |entry| {
            entry.message() == "a call got no more memory" && entry.text("plugin") == Some(plugin)
        });
        assert_eq!(told.text("reason"), Some("needed more than its 8388608 bytes of memory"), "{told:?}");
        assert!(told.text("advice").unwrap().contains("`memory`"), "{told:?}");
    }
}

/// A failed operation on a store or a file is logged with the thing asked for; the client learns none of it.
#[test]
fn what_the_host_could_not_do_names_the_operation_and_on_what() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let missing = setup.folder().join("missing");
    let files = format!("[plugins.reaching.grants]\ncommands = []\nfiles = [\"{}\"]", missing.display());
    let stateful = ["kv-set", "kv-set-sized", "kv-set-many-sized", "kv-get", "state-set"];
    let grants = "[plugins.stateful.grants]\nkeyvalue = [\"default\"]";
    let events = "[plugins.announcing.grants]\nevents = []";
    let setup = setup
        .plugin("stateful", components::stateful(), &stateful, grants)
        .plugin("announcing", components::announcing(), &["announce"], events)
        .plugin("reaching", components::reaching(), &["read"], &files);
    let server = setup.start();
    let mut connection = server.connect(&tester);
    let long = "k".repeat(600);
    for (line, told) in [
        ("kv-set-sized default k 1048577".into(), "`set` of \"k\" in the store \"default\": a value".into()),
        (format!("kv-get default {long}"), format!("`get` of \"{}…\" in the store", "k".repeat(64))),
        ("kv-set-many-sized default 1001 1".into(), "`set-many` of \"".into()),
        ("state-set default k v 0".into(), "`set` of \"k\" in the store \"default\": not a time".into()),
        ("announce a$b".into(), "`publish` of \"a$b\": a topic is".into()),
        (format!("read {}", missing.display()), format!("{}: there is no such file now", missing.display())),
    ] {
        let frame = connection.ask_framed(&line);
        assert_eq!(frame.status, "ERR", "{line}: {frame:?}");
        assert!(!frame.message.contains("in the store"), "{}", frame.message);
        server.wait_for_log(&line, |entry| {
            let error = entry.text("error").unwrap_or_default();
            entry.message() == "a host function failed" && error.contains(&*told)
        });
    }
}

/// A server with plugins that compute or wait longer than they may.
fn overdue() -> (Server, Identity) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let loops = Minimal::new(&["loops"]).handling_by("(loop $again (br $again))");
    let loops = loops.write(setup.folder(), "loops");
    let setup = setup
        .plugin("hostile", components::hostile(), &["spin", "sleep"], "timeout = \"700ms\"")
        .plugin("loops", &loops, &["loops"], "timeout = \"20s\"\ncpu_time = \"100ms\"")
        .plugin("brief", components::streams(), &["stall"], "timeout = \"300ms\"");
    (setup.server("core_dumps = \"dumps\"").start(), tester)
}

/// A request, the stopped plugin, the code, the event, the owner of the deadline, the plugin's activity, and
/// the reported function: none if it waited, or if no function has a name.
type Overdue =
    (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const OVERDUE: [Overdue; 5] = [
    ("spin", "hostile", "timeout", DEADLINE, "its plugin's timeout of 700ms", "it computed", "spin"),
    (
        "spin\r\nTimeout-Ms: 100",
        "hostile",
        "timeout",
        DEADLINE,
        "its client's Timeout-Ms of 100",
        "it computed",
        "spin",
    ),
    (
        "sleep 60000",
        "hostile",
        "timeout",
        DEADLINE,
        "its plugin's timeout of 700ms",
        "it waited for the host",
        "",
    ),
    ("loops", "loops", "plugin-limit", "stopped: computed for too long", "", "it computed", ""),
    ("stall 1", "brief", "timeout", "stopped: its stream stalled", "", "it waited for the host", ""),
];

const DEADLINE: &str = "stopped at the deadline";

/// However a call computes too long, the log has its place, the owner of the deadline, and the remedy.
#[test]
fn a_call_that_is_stopped_says_where_it_was_and_whose_deadline_it_was() {
    let (server, tester) = overdue();
    let mut connection = server.connect(&tester);
    for (line, plugin, code, event, whose, doing, function) in OVERDUE {
        let before = server.log().len();
        let mut frame = connection.ask_framed(line);
        while frame.status == "PART" {
            frame = connection.read_frame();
        }
        assert_eq!(frame.failure(), (code, "unknown"), "{line}: {}", frame.message);
        assert!(!frame.message.contains("wasm"), "{}", frame.message);
        let told = testkit::eventually(line, || {
            let log = server.log();
            let is_it = |entry: &&Entry| entry.message() == event && entry.text("plugin") == Some(plugin);
            log.into_iter().skip(before).find(|entry| is_it(&entry))
        });
        assert_eq!(told.text("deadline").unwrap_or_default(), whose, "{told:?}");
        assert!(line.contains(told.text("command").unwrap()), "{told:?}");
        assert_eq!(told.text("doing"), Some(doing), "{told:?}");
        assert!(told.text("advice").is_some(), "{told:?}");
        let error = told.text("error").unwrap_or_default();
        assert_eq!(error.is_empty(), function.is_empty(), "{told:?}");
        assert!(error.contains(function), "{told:?}");
    }
    // Their memory is in a core dump, as after a trap.
    server.wait_for_log("a core dump", |entry| entry.message() == "core dump");
}

/// A request for too much, or for something not granted, logs the missing key or grant only for operators.
#[test]
fn what_is_refused_says_which_key_or_grant_it_takes() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let setup = setup
        .plugin("hostile", components::hostile(), &["big"], "reply = \"1KiB\"")
        .plugin(
            "stateful",
            components::stateful(),
            &["kv-set", "kv-open", "state-get"],
            "store_keys = 1\n[plugins.stateful.grants]\nkeyvalue = [\"default\"]",
        )
        .plugin(
            "reaching",
            components::reaching(),
            &["read", "run"],
            "[plugins.reaching.grants]\nfiles = []\ncommands = []",
        )
        .plugin("web", components::web(), &["fetch"], "[plugins.web.grants]\nhttp = [\"https://a.example\"]");
    let server = setup.start();
    let mut connection = server.connect(&tester);
    connection.ask_framed("kv-set default one 1");
    for (line, event, advice) in [
        ("big 2000", "reply too large", "raise `reply` of the plugin"),
        (
            "fetch GET https://b.example/x?secret",
            "HTTP request denied",
            "add \"https://b.example\" to `http` of [plugins.web.grants]",
        ),
        (
            "read /etc/shadow",
            "a host function failed",
            "add \"/etc/shadow\" to `files` of [plugins.reaching.grants]",
        ),
        ("run echo", "a host function failed", "add \"echo\" to `commands` of [plugins.reaching.grants]"),
        (
            "kv-open third",
            "a host function failed",
            "add \"third\" to `keyvalue` of [plugins.stateful.grants]",
        ),
        (
            "state-get third k",
            "a host function failed",
            "add \"third\" to `keyvalue` of [plugins.stateful.grants]",
        ),
        ("kv-set default two 2", "a host function failed", "raise `store_keys` of the plugin or of [state]"),
    ] {
        let frame = connection.ask_framed(line);
        assert!(!frame.message.contains("raise") && !frame.message.contains("add "), "{}", frame.message);
        server.wait_for_log(line, |entry| {
            entry.message() == event && entry.text("advice").is_some_and(|told| told.contains(advice))
        });
    }
}
