//! Components that take the compiler too long, or too much memory: refused in words, within bounds, by a
//! process that is not the server's and has no rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::certs::Identity;
use testkit::components::{Minimal, bomb};
use testkit::eventually;
use testkit::server::{Server, Setup};
use testkit::tools::{Finished, finish, lictor};
use wasm_encoder::{ComponentSection as _, Encode as _, Module, ModuleSection, TypeSection, ValType};

use crate::{assert_serves, tell_memory};

/// Most that the server may grow through work in another process.
const GROWTH_KIB: u64 = 48 << 10;

/// Limits that are too low for the component, and the words for each.
const TOO_LITTLE: [(&str, &str, &str); 3] = [
    ("compile_time", "1s", "it takes more than compile_time = 1s to compile"),
    ("compile_memory", "192MiB", "it takes more than compile_memory = 192MiB to compile"),
    ("component_size", "20KiB", "its file is larger than component_size = 20KiB"),
];

fn within_bounds(command: &mut Command) -> Finished {
    let begun = Instant::now();
    let finished = finish(command);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    finished
}

#[test]
fn a_compile_bomb_is_refused_by_check() {
    for (key, value, words) in TOO_LITTLE {
        let setup = Setup::new();
        let component = bomb(setup.folder());
        let setup = setup.plugin("bomb", &component, &["bomb"], "");
        let setup = setup.section(&format!("[limits]\n{key} = \"{value}\""));
        let config = setup.write();
        let said = within_bounds(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains("plugin bomb: ") && said.stderr.contains(words), "{said:?}");
    }
}

#[test]
fn what_a_component_says_is_not_taken_for_a_fault_of_memory() {
    let setup = Setup::new();
    let name = "memory allocation of 8 bytes failed (os error 12) kind: OutOfMemory exceeds the";
    let component = setup.folder().join("quoted.wasm");
    fs::write(&component, wat::parse_str(format!("(component (import {name:?} (func)))")).unwrap()).unwrap();
    let setup = setup.plugin("quoted", &component, &["quoted"], "");
    let said = finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("it is not a valid component: ") && said.stderr.contains(name), "{said:?}");
}

/// Builds nested instance types, each exported by the one around it; text nested that deeply is not parsed.
fn nested_types(folder: &Path, depth: usize) -> PathBuf {
    let empty = vec![0x42, 0];
    let types = (0..depth).fold(empty, |inner, _| {
        let (begin, export) = ([0x42, 2, 1], [4, 0, 1, b'y', 5, 0]);
        [&begin[..], &inner, &export].concat()
    });
    let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
    (1 + types.len()).encode(&mut bytes);
    bytes.push(1);
    bytes.extend(types);
    // The type is used by an import.
    bytes.extend(b"\x0a\x0a\x01\0\x05a:b/c\x05\0");
    let path = folder.join(format!("nested{depth}.wasm"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_component_that_breaks_the_compiler_is_told_as_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let panics = "it makes the compiler panic: assertion failed";
    let overflows =
        "it makes the compiler overflow its stack: types, components or blocks are nested too deep";
    for (depth, words) in [(200, panics), (4000, overflows)] {
        let component = nested_types(folder.path(), depth);
        let said = finish(lictor(folder.path()).args(["plugin", "inspect"]).arg(&component));
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(words), "{said:?}");
        for foreign in ["bug in lictor", ".rs", "registry"] {
            assert!(!said.stderr.contains(foreign), "{said:?}");
        }
    }
}

#[test]
fn a_compile_bomb_is_refused_by_the_verbs_for_authors() {
    let folder = tempfile::tempdir().unwrap();
    let component = bomb(folder.path());
    for (key, value, words) in TOO_LITTLE {
        let option = format!("--{}", key.replace('_', "-"));
        for verb in ["inspect", "run", "test"] {
            let mut command = lictor(folder.path());
            command.args(["plugin", verb, &option, value]).arg(&component);
            if verb == "run" {
                command.arg("bomb");
            }
            let said = within_bounds(&mut command);
            assert_eq!(said.code, Some(1), "{verb}: {said:?}");
            assert!(said.stderr.contains(words), "{verb}: {said:?}");
        }
    }
    // None of them left a partial file.
    let cache = folder.path().join("home/lictor");
    assert_eq!(fs::read_dir(cache).unwrap().count(), 0);
}

/// Starts a server with `echo`, and then adds the bomb to its config.
fn about_to_load(folder_limits: &str) -> (Server, Identity) {
    let tester = Identity::new("tester");
    let server = Setup::new().master("tester", &tester).echo().section(folder_limits).start();
    let component = bomb(server.folder());
    server.edit(|text| format!("{text}\n[plugins.bomb]\ncomponent = {component:?}\ncommands = [\"bomb\"]\n"));
    (server, tester)
}

/// Returns the running processes that `parent` started.
fn children(parent: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let mut rest = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
        let (state, of) = (rest.next(), rest.next());
        state.is_some_and(|state| state != "Z") && of == Some(&parent.to_string())
    };
    processes.filter(is_child).collect()
}

/// Returns the process that compiles for `server`, once it has given up its rights.
fn compiler(server: &Server) -> u32 {
    eventually("a process that compiles", || {
        let child = *children(server.process()).first()?;
        let open_files = row(child, "limits", "Max open files")?;
        (open_files.split_whitespace().next() == Some("3") && seccomp(child)? != "0").then_some(child)
    })
}

fn seccomp(process: u32) -> Option<String> {
    row(process, "status", "Seccomp:")
}

/// Returns the text after `name` in a file about a process.
fn row(process: u32, file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned())
}

#[test]
fn a_compile_bomb_takes_nothing_of_the_server_at_a_reload() {
    let (server, tester) = about_to_load("[limits]\ncompile_time = \"4s\"");
    let before = server.memory_kib("VmHWM:");
    server.signal("HUP");
    let child = compiler(&server);
    assert!(fs::read(format!("/proc/{child}/cmdline")).unwrap().starts_with(b"lictor\0compile\0"));
    assert_serves(&server, &tester);
    server.wait_for_log("a reload that failed", |entry| {
        let fault = entry.text("fault").unwrap_or_default();
        fault.contains("plugin bomb: ") && fault.contains("it takes more than compile_time = 4s to compile")
    });
    eventually("the compiler to be gone", || children(server.process()).is_empty().then_some(()));
    let grown = server.memory_kib("VmHWM:") - before;
    assert!(grown < GROWTH_KIB, "{grown} KiB more at the most");
    tell_memory(&server, before);
    assert_serves(&server, &tester);
    let status = server.connect(&tester).ask("@status");
    assert!(status.contains("lictor_compile_time_used_up_total 1"), "{status}");
}

#[test]
fn the_compiler_has_no_rights_and_bounds_itself() {
    let (server, _tester) = about_to_load("[limits]\ncompile_memory = \"8GiB\"\ncompile_time = \"90s\"");
    server.signal("HUP");
    let child = compiler(&server);
    for (file, name, wanted) in [
        ("status", "Seccomp:", "2"),
        ("status", "NoNewPrivs:", "1"),
        ("limits", "Max address space", "8589934592"),
        ("limits", "Max file size", "8589934592"),
        // The kernel enforces the hard limit by killing, without a reason.
        ("limits", "Max cpu time", "90 91"),
        ("limits", "Max core file size", "0"),
    ] {
        let found = row(child, file, name).unwrap();
        let found: Vec<&str> = found.split_whitespace().take(1 + usize::from(file == "limits")).collect();
        let wanted: Vec<&str> = wanted.split(' ').cycle().take(found.len()).collect();
        assert_eq!(found, wanted, "{name}");
    }
    assert_eq!(fs::read_to_string(format!("/proc/{child}/oom_score_adj")).unwrap().trim(), "1000");
    // Only root may read these of a process that is not dumpable.
    let Ok(descriptors) = fs::read_dir(format!("/proc/{child}/fd")) else { return };
    let mut descriptors: Vec<_> = descriptors.map(|entry| entry.unwrap().file_name()).collect();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2"]);
    let environment = fs::read(format!("/proc/{child}/environ")).unwrap();
    let names: Vec<_> = environment.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
    assert_eq!(names.len(), 2, "{}", String::from_utf8_lossy(&environment));
    assert_eq!(fs::read_link(format!("/proc/{child}/cwd")).unwrap(), Path::new("/"));
}

#[test]
fn the_compiler_does_not_outlive_the_server() {
    for (signal, code) in [("KILL", None), ("TERM", Some(0))] {
        let limits = "[limits]\ncompile_memory = \"8GiB\"\ncompile_time = \"10m\"";
        let (mut server, _tester) = about_to_load(limits);
        server.signal("HUP");
        let child = compiler(&server);
        server.signal(signal);
        // If the server had waited for the compilation, another signal would have ended it.
        assert_eq!(server.wait(), code);
        eventually("the compiler to be gone", || seccomp(child).is_none_or(|mode| mode == "0").then_some(()));
    }
}

/// Makes a plugin with a module of this many types, with a hundred parameters each; decoded, they take fifty
/// times their size.
fn of_types(folder: &Path, number: usize) -> PathBuf {
    const KINDS: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    let mut types = TypeSection::new();
    for one in 0..number {
        types.ty().function((0..100).map(|place| KINDS[one >> (place % 10 * 2) & 3]), []);
    }
    let mut module = Module::new();
    let mut bytes = Minimal::new(&["typed"]).bytes();
    ModuleSection(module.section(&types)).append_to_component(&mut bytes);
    let path = folder.join(format!("types{number}.wasm"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_a_component_defines_takes_no_more_of_the_server_than_its_file_may_have() {
    let tester = Identity::new("tester");
    let mut server = Setup::new().master("tester", &tester).echo().start();
    // The first is refused, the second is loaded.
    for (number, is_loaded) in [(20_000, false), (9_800, true)] {
        let component = of_types(server.folder(), number);
        let plugin = format!("[plugins.typed]\ncomponent = {component:?}\ncommands = [\"typed\"]\n");
        server.edit(|text| format!("{}\n{plugin}", text.split("\n[plugins.typed]").next().unwrap()));
        let before = server.memory_kib("VmHWM:");
        let told = server.connect(&tester).ask("@reload");
        assert_eq!(told.contains("what component_size allows"), !is_loaded, "{told}");
        // The file is in memory, and first-time work takes some megabytes. Decoded, the refused one takes
        // 110.
        let most = (32 << 10) + if is_loaded { 64 << 10 } else { 0 };
        let grown = server.memory_kib("VmHWM:") - before;
        assert!(grown < most, "{grown} KiB more at the most for {number} types");
        tell_memory(&server, before);
    }
    assert_eq!(server.connect(&tester).ask("typed"), "ok");
    server.start_anew();
    assert_eq!(server.connect(&tester).ask("typed"), "ok");
}

/// Makes a C++ name in which each part is the previous one twice: demangled it exceeds 2^40 bytes.
fn doubled_name() -> String {
    let reference = |number: usize| {
        let digit = |digit| char::from_digit(digit as u32, 36).unwrap().to_ascii_uppercase();
        match number.checked_sub(1) {
            None => "S_".to_owned(),
            Some(number) if number < 36 => format!("S{}_", digit(number)),
            Some(number) => format!("S{}{}_", digit(number / 36), digit(number % 36)),
        }
    };
    let parts = (1..40).map(|number| format!("S_I{0}{0}E", reference(number)));
    format!("_Z1f1PIiiE{}", parts.collect::<String>())
}

#[test]
fn a_name_that_stands_for_gigabytes_is_not_written_whole_at_a_trap() {
    let folder = tempfile::tempdir().unwrap();
    let name = doubled_name();
    let trap = format!(
        "(drop (call $evil)) (i32.const 30000)) (func $evil (@name \"{name}\") (result i32) unreachable"
    );
    let component = Minimal::new(&["trap"]).handling_by(&trap).write(folder.path(), "trap");
    let tester = Identity::new("tester");
    let server =
        Setup::new().master("tester", &tester).echo().plugin("trap", &component, &["trap"], "").start();
    let before = server.memory_kib("VmHWM:");
    let mut connection = server.connect(&tester);
    for _ in 0..8 {
        assert_eq!(connection.ask_framed("trap").failure(), ("plugin-trapped", "unknown"));
    }
    let entry = server.wait_for_log("the trap", |entry| entry.message() == "plugin broke off");
    let error = entry.text("error").unwrap();
    assert!(error.contains(&name[..200]) && error.len() < 4096, "{error}");
    assert!(server.memory_kib("VmHWM:") - before < GROWTH_KIB);
    assert_serves(&server, &tester);
}
