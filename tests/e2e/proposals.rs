//! Proposals of WebAssembly that a component may use, as docs/plugins.md lists them.

use std::path::Path;

use testkit::certs::Identity;
use testkit::components::Minimal;
use testkit::server::Setup;
use testkit::tools::{finish, lictor};

/// Supported proposals, each with a part of a core module that uses it. Each is run.
const THERE: [(&str, &str); 19] = [
    ("multi-value", "(func (result i32 i32) (i32.const 1) (i32.const 2))"),
    ("mutable globals", "(global (export \"g\") (mut i32) (i32.const 0))"),
    ("sign extension", "(func (drop (i32.extend8_s (i32.const 1))))"),
    ("saturating conversions", "(func (drop (i32.trunc_sat_f32_s (f32.const 1))))"),
    ("bulk memory", "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 8)))"),
    ("SIMD", "(func (drop (v128.const i32x4 1 2 3 4)))"),
    (
        "relaxed SIMD",
        "(func (param v128 v128 v128) (drop (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
    ),
    ("tail calls", "(func $f (return_call $f))"),
    (
        "typed function references",
        "(type $t (func)) (func $g) (elem declare func $g) (func (call_ref $t (ref.func $g)))",
    ),
    ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
    ("two memories", "(memory 1) (memory 1)"),
    (
        "as many memories as the bound says, with that of the plugin",
        "(memory 0) (memory 0) (memory 0) (memory 0) (memory 0) (memory 0) (memory 0)",
    ),
    ("two tables", "(table 1 funcref) (table 1 funcref)"),
    ("memory of 64 bits", "(memory i64 1) (func (drop (i32.load (i64.const 0))))"),
    ("tables of 64 bits", "(table i64 1 funcref)"),
    ("a memory that is used", "(memory 1) (func $f (i32.store (i32.const 0) (i32.const 7))) (start $f)"),
    (
        "a second memory that is used",
        "(memory 1) (memory $m 1) (func $f (i32.store $m (i32.const 0) (i32.const 7)) \
         (if (i32.ne (i32.load $m (i32.const 0)) (i32.const 7)) (then unreachable))) (start $f)",
    ),
    (
        "a memory of 64 bits that is used",
        "(memory i64 1) (func $f (i32.store (i64.const 8) (i32.const 7))) (start $f)",
    ),
    (
        "a function reference that is used",
        "(type $t (func)) (func $g) (elem declare func $g) (func $f (call_ref $t (ref.func $g))) (start $f)",
    ),
];

/// Unsupported proposals, with such a part, and a word of the reason.
const NOT_THERE: [(&str, &str, &str); 10] = [
    ("externref", "(table 1 externref)", "gc"),
    ("structs of GC", "(type $s (struct (field i32))) (func (drop (struct.new_default $s)))", "gc"),
    ("arrays of GC", "(type $a (array i32))", "gc"),
    ("exceptions", "(tag $e) (func (throw $e))", "exceptions"),
    (
        "exceptions that are caught",
        "(tag $e) (func (block $h (try_table (catch $e $h) (nop))))",
        "exceptions",
    ),
    ("shared memory", "(memory 1 1 shared)", "threads"),
    ("atomics", "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))", "threads"),
    (
        "wide arithmetic",
        "(func (param i64 i64 i64 i64) (result i64 i64) \
         (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
        "wide arithmetic",
    ),
    ("custom page sizes", "(memory 1 (pagesize 1))", "custom page sizes"),
    (
        "stack switching",
        "(type $f (func)) (type $c (cont $f)) (func $g) (elem declare func $g) (func (drop (cont.new $c (ref.func $g))))",
        "stack switching",
    ),
];

/// Parts of the component model that only streams may use.
const NOT_THERE_OF_COMPONENTS: [(&str, &str); 2] = [
    ("(core func $yield (canon thread.yield))", "component model async"),
    ("(type $s (stream u8))", "component model async"),
];

fn with(module: &str) -> Minimal {
    Minimal::new(&["go"]).beside(&format!("(core module $more {module}) (core instance (instantiate $more))"))
}

/// Loads a component that contains `module` beside its own, and runs a command of it.
fn run(folder: &Path, module: &str) -> (Option<i32>, String) {
    let component = with(module).write(folder, "more");
    let run = finish(lictor(folder).args(["plugin", "run"]).arg(&component).arg("go"));
    (run.code, run.stdout + &run.stderr)
}

#[test]
fn what_is_there_runs() {
    let folder = tempfile::tempdir().unwrap();
    for (name, module) in THERE {
        let (code, said) = run(folder.path(), module);
        assert_eq!(code, Some(0), "{name}: {said}");
    }
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, module, word) in NOT_THERE {
        let (code, said) = run(folder.path(), module);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains("it is built for more of WebAssembly than this host runs"), "{name}: {said}");
        assert!(said.contains(word), "{name}: {said}");
    }
    for (text, word) in NOT_THERE_OF_COMPONENTS {
        let component = Minimal::new(&["go"]).beside(text).write(folder.path(), "async");
        let run = finish(lictor(folder.path()).args(["plugin", "run"]).arg(&component).arg("go"));
        assert!(
            run.stderr.contains("it is built for more of WebAssembly than this host runs"),
            "{text}: {run:?}"
        );
        assert!(run.stderr.contains(word), "{text}: {run:?}");
    }
}

#[test]
fn a_core_module_may_have_all_that_a_component_may() {
    let folder = tempfile::tempdir().unwrap();
    // The plugin itself has one of each.
    for (part, most) in [("(memory 0)", 7), ("(table 0 funcref)", 31)] {
        let (code, said) = run(folder.path(), &part.repeat(most));
        assert_eq!(code, Some(0), "{part}: {said}");
        let (code, said) = run(folder.path(), &part.repeat(most + 1));
        assert_eq!(code, Some(1), "{part}: {said}");
        assert!(said.contains("it needs more than this host gives one plugin"), "{part}: {said}");
    }
}

/// Holds for any number of memories that share the limit.
#[test]
fn memories_of_one_module_have_the_memory_of_the_instance_together() {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester).echo();
    let forever = "(loop $on (br_if $on (i32.ne (memory.grow $one (i32.const 1)) (i32.const -1)))) \
                   (loop $on (br_if $on (i64.ne (memory.grow $other (i64.const 1)) (i64.const -1)))) unreachable";
    let module = format!("(memory $one 1) (memory $other i64 1) (func (export \"grow\") {forever})");
    let component = Minimal::new(&["go"])
        .beside(&format!("(core module $more {module}) (core instance $more (instantiate $more))"))
        .in_its_module("(import \"more\" \"grow\" (func $grow))", "(with \"more\" (instance $more))")
        .handling_by("(call $grow)")
        .write(setup.folder(), "more");
    let server = setup.plugin("more", &component, &["go"], "memory = \"1MiB\"").start();
    let mut connection = server.connect(&tester);
    let frame = connection.ask_framed("go");
    assert_eq!(frame.failure(), ("plugin-limit", "unknown"), "{}", frame.message);
    assert!(frame.message.contains("needed more than its 1048576 bytes of memory"), "{}", frame.message);
    assert_eq!(connection.ask("echo next"), "next");
}
