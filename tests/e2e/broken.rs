//! Calls that break off: what the client is told, and what the operator is told to do about it.

use crate::support::certs::Identity;
use crate::support::components::Minimal;
use crate::support::server::Setup;

/// The client is told what it was, and the operator what mends it.
#[test]
fn what_broke_a_call_off_says_what_mends_it() {
    let tester = Identity::new("tester");
    let mut setup =
        Setup::new().master("tester", &tester).echo().hostile("memory = \"8MiB\"\nhost_calls = 1");
    let pointers = [
        // The stack pointer of an empty stack, less a frame; the same, and what is read from there on; any other pointer.
        ("below", "(i32.store (i32.const -16) (i32.const 1))"),
        ("across", "(drop (i64.load offset=12 (i32.const -16)))"),
        ("beyond", "(i32.store (i32.const 0x7fff0000) (i32.const 1))"),
        ("declared", "(drop (memory.grow $small (i32.const 2))) unreachable"),
        ("divided", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
        ("endless", "(call $again)"),
    ];
    for (name, instructions) in pointers {
        let component = Minimal::new(&[name])
            .in_its_module("(memory $small 1 2) (func $again (call $again))", "")
            .handling_by(instructions);
        let component = component.write(setup.folder(), name);
        setup = setup.plugin(name, &component, &[name], "");
    }
    let server = setup.start();
    let mut connection = server.connect(&tester);
    let stack = Some("-z stack-size=");
    for (command, code, words, advice) in [
        ("deep", "plugin-trapped", "just below address 0: most likely its stack is used up", stack),
        ("below", "plugin-trapped", "at 0xfffffff0, just below address 0: most likely", stack),
        ("across", "plugin-trapped", "at 0xfffffffc, just below address 0: most likely", stack),
        ("beyond", "plugin-trapped", "trapped: out of bounds memory access (request", None),
        ("divided", "plugin-trapped", "trapped: integer divide by zero (request", None),
        ("endless", "plugin-trapped", "trapped: its call stack is exhausted", Some("512 KiB is fixed")),
        (
            "declared",
            "plugin-limit",
            "131072 bytes of memory or elements of a table that it declares",
            Some("--max-memory"),
        ),
        ("grow", "plugin-limit", "needed more than its 8388608 bytes of memory", Some("`memory`")),
    ] {
        let frame = connection.ask_framed(command);
        assert_eq!(frame.failure(), (code, "unknown"), "{command}: {}", frame.message);
        assert!(frame.message.contains(words), "{command}: {}", frame.message);
        let reason = frame.message.split(" (request").next().unwrap();
        let broke = server.wait_for_log(command, |entry| {
            entry.message() == "plugin broke off"
                && entry.text("reason").is_some_and(|told| reason.ends_with(told))
        });
        let told = broke.text("advice");
        assert_eq!(told.is_some(), advice.is_some(), "{command}: {broke:?}");
        assert!(advice.is_none_or(|advice| told.unwrap().contains(advice)), "{command}: {broke:?}");
    }
}

/// A plugin that copes with an allocation that failed answers, and the operator hears of it all the same.
#[test]
fn a_call_that_copes_with_too_little_memory_is_told_to_the_operator() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let component = Minimal::new(&["coped"]).handling_by("(drop (memory.grow (i32.const 1000)))");
    let component = component.write(setup.folder(), "coped");
    let server = setup.plugin("coped", &component, &["coped"], "memory = \"8MiB\"").start();
    assert_eq!(server.connect(&tester).ask("coped"), "ok");
    let told = server.wait_for_log("it", |entry| entry.message() == "a call got no more memory");
    assert_eq!(told.text("reason"), Some("needed more than its 8388608 bytes of memory"), "{told:?}");
    assert!(told.text("advice").unwrap().contains("`memory`"), "{told:?}");
}
