//! Components that are refused, and the words for each.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::certs::Identity;
use testkit::components::{self, Minimal};
use testkit::server::Setup;
use testkit::tools::{Finished, finish, lictor};

/// Makes a config with one plugin `guest`, whose component `make` writes into a folder, and checks it.
fn check(keys: &str, make: impl FnOnce(&Path) -> PathBuf) -> (Setup, Finished) {
    let setup = Setup::new();
    let component = make(setup.folder());
    let setup = setup.plugin("guest", &component, &["run"], keys);
    let config = setup.write();
    let finished = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    (setup, finished)
}

/// Asserts that `check` refuses the component with all of `words` and the plugin's name, and that the server
/// refuses it in the same way, before it listens.
#[track_caller]
fn refused(words: &[&str], make: impl FnOnce(&Path) -> PathBuf) {
    let (setup, checked) = check("timeout = \"500ms\"", make);
    let mut serve = lictor(setup.folder());
    let served = finish(serve.arg("serve").arg("--config").arg(setup.folder().join("server.toml")));
    for (verb, finished) in [("check", checked), ("serve", served)] {
        assert_eq!(finished.code, Some(2), "{verb}: {finished:?}");
        for word in ["guest"].iter().chain(words) {
            assert!(finished.stderr.contains(word), "{verb} does not tell {word:?}: {}", finished.stderr);
        }
        assert!(!finished.stderr.contains("panicked"), "{verb}: {}", finished.stderr);
        assert!(!finished.stderr.contains("listening"), "{verb} opened a socket: {}", finished.stderr);
    }
}

fn runs(component: impl FnOnce(&Path) -> PathBuf) {
    let tester = Identity::new("tester");
    let setup = Setup::new().master("tester", &tester);
    let path = component(setup.folder());
    let server = setup.plugin("guest", &path, &["run"], "").start();
    assert_eq!(server.connect(&tester).ask("run"), "ok");
}

#[test]
fn the_smallest_plugin_runs() {
    runs(|folder| Minimal::new(&["run"]).write(folder, "guest"));
    let (_setup, finished) = check("", |folder| Minimal::new(&["run"]).write(folder, "guest"));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("guest"), "{finished:?}");
}

/// Each file in `tests/components/old` has the imports allowed to plugins of one version, with its types.
#[test]
fn plugins_built_against_every_earlier_version_load_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/components/old");
    let mut versions = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let version = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let imports = std::fs::read_to_string(&file).unwrap();
        let tester = Identity::new("tester");
        let setup = Setup::new().master("tester", &tester);
        let old = Minimal::new(&["run"]).of_version(&version).beside(&imports);
        let component = old.write(setup.folder(), "old");
        let setup = setup.plugin("old", &component, &["run"], "");
        let grants = "[plugins.old.grants]\nkeyvalue = []\nfiles = []\ncommands = []";
        let server = setup.section(grants).start();
        assert_eq!(server.connect(&tester).ask("run"), "ok", "{version}");
        versions += 1;
    }
    assert!(versions > 0, "there are no old components");
}

#[test]
fn a_later_minor_version_without_anything_new_in_it_runs() {
    runs(|folder| Minimal::new(&["run"]).of_version("0.1.7").write(folder, "guest"));
    // Built against a later `request` with more functions, of which it uses an old one.
    runs(|folder| {
        let plugin = Minimal::new(&["run"]).of_version("0.1.7");
        plugin
            .importing("lictor:plugin/request@0.1.7", r#"(export "id" (func (result string)))"#)
            .write(folder, "guest")
    });
}

#[test]
fn a_later_minor_version_whose_news_are_used_is_refused() {
    refused(&["lictor:plugin/request", "0.1.7"], |folder| {
        let plugin = Minimal::new(&["run"]).of_version("0.1.7");
        plugin
            .importing("lictor:plugin/request@0.1.7", r#"(export "news" (func (result string)))"#)
            .write(folder, "guest")
    });
}

#[test]
fn another_major_version_is_refused() {
    refused(&["lictor:plugin/commands@0.2.0", "0.1"], |folder| {
        Minimal::new(&["run"]).of_version("0.2.0").write(folder, "guest")
    });
    refused(&["lictor:plugin/request@0.2.0", "0.1"], |folder| {
        let plugin = Minimal::new(&["run"]);
        plugin
            .importing("lictor:plugin/request@0.2.0", r#"(export "id" (func (result string)))"#)
            .write(folder, "guest")
    });
}

#[test]
fn an_import_that_nobody_offers_is_refused_by_name() {
    refused(&["acme:thing/api@1.0.0"], |folder| {
        let plugin = Minimal::new(&["run"]);
        plugin.importing("acme:thing/api@1.0.0", r#"(export "f" (func (result u32)))"#).write(folder, "guest")
    });
}

#[test]
fn the_network_is_refused_by_name() {
    refused(&["wasi:sockets/instance-network@0.2.0", "socket"], |folder| {
        let plugin = Minimal::new(&["run"]);
        let network = r#"(export "network" (type $n (sub resource))) (export "instance-network" (func (result (own $n))))"#;
        plugin.importing("wasi:sockets/instance-network@0.2.0", network).write(folder, "guest")
    });
    refused(&["wasi:http/types@0.2.0"], |folder| {
        let plugin = Minimal::new(&["run"]);
        plugin
            .importing("wasi:http/types@0.2.0", r#"(export "fields" (type (sub resource)))"#)
            .write(folder, "guest")
    });
}

#[test]
fn every_misfit_is_told_not_the_first_only() {
    refused(&["acme:one/api@1.0.0", "acme:two/api@1.0.0"], |folder| {
        let plugin = Minimal::new(&["run"]);
        let plugin = plugin.importing("acme:one/api@1.0.0", r#"(export "f" (func))"#);
        plugin.importing("acme:two/api@1.0.0", r#"(export "f" (func))"#).write(folder, "guest")
    });
}

#[test]
fn a_function_of_another_type_is_refused() {
    refused(&["lictor:plugin/request"], |folder| {
        let plugin = Minimal::new(&["run"]);
        plugin
            .importing("lictor:plugin/request@0.1.0", r#"(export "id" (func (result u32)))"#)
            .write(folder, "guest")
    });
}

#[test]
fn a_component_without_commands_is_refused() {
    refused(&["lictor:plugin/commands@0.1.0"], |folder| {
        write(folder, &wat::parse_str("(component)").unwrap())
    });
    refused(&["lictor:plugin/commands@0.1.0", "acme:other/commands"], |folder| {
        Minimal::new(&["run"]).exporting_as("acme:other/commands").write(folder, "guest")
    });
}

#[test]
fn a_core_module_is_refused_with_advice() {
    refused(&["core", "component", "wasm32-wasip2"], |folder| {
        write(folder, &wat::parse_str("(module)").unwrap())
    });
}

#[test]
fn what_is_no_webassembly_is_refused() {
    refused(&["WebAssembly"], |folder| write(folder, b"#!/bin/sh\necho hello\n"));
    refused(&["WebAssembly"], |folder| write(folder, b""));
    refused(&["component"], |folder| {
        let mut cut = fs::read(components::echo()).unwrap();
        cut.truncate(cut.len() / 2);
        write(folder, &cut)
    });
}

#[test]
fn a_component_that_needs_more_than_there_is_for_one_is_told_how_much_there_is() {
    let modules = |module: &str, count: usize| {
        let instances = "(core instance (instantiate $more))\n".repeat(count);
        format!("(core module $more {module})\n{instances}")
    };
    let refused_with = |words: &[&str], text: String| {
        refused(words, |folder| Minimal::new(&["run"]).beside(&text).write(folder, "guest"));
    };
    let host = "more than this host gives";
    refused_with(&[host, "49 core", "maximum of 48"], modules("", 48));
    refused_with(&[host, "33 tables", "maximum of 32"], modules("(table 1 funcref)", 32));
    refused_with(&[host, "9 Wasm linear memories", "maximum of 8"], modules("(memory 1)", 8));
    refused_with(&[host, "limit of 20000"], modules("(table 20001 funcref)", 1));
}

#[test]
fn a_folder_in_place_of_a_component_is_refused() {
    refused(&["guest"], |folder| {
        let path = folder.join("folder.wasm");
        fs::create_dir(&path).unwrap();
        path
    });
}

#[test]
fn a_component_that_is_not_there_is_refused() {
    refused(&["nowhere.wasm"], |folder| folder.join("nowhere.wasm"));
}

#[test]
fn a_plugin_that_does_not_describe_itself_in_time_is_refused() {
    refused(&["describe"], |folder| {
        Minimal::new(&["run"]).describing_by("(loop (br 0))").write(folder, "guest")
    });
}

#[test]
fn a_plugin_that_traps_as_it_describes_itself_is_refused() {
    refused(&["describe", "unreachable"], |folder| {
        Minimal::new(&["run"]).describing_by("unreachable").write(folder, "guest")
    });
}

#[test]
fn a_plugin_that_needs_more_memory_than_it_may_have_is_refused() {
    let (_setup, finished) = check("memory = \"64KiB\"", |_| components::hostile().to_owned());
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("guest") && finished.stderr.contains("memory"), "{}", finished.stderr);
}

#[test]
fn a_component_with_another_hash_than_the_pinned_one_is_refused() {
    let wrong = "a".repeat(64);
    let (setup, finished) =
        check(&format!("sha256 = \"{wrong}\""), |folder| Minimal::new(&["run"]).write(folder, "guest"));
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let bytes = fs::read(setup.folder().join("guest.wasm")).unwrap();
    let right = base16ct::lower::encode_string(&<sha2::Sha256 as sha2::Digest>::digest(bytes));
    assert!(finished.stderr.contains(&wrong) && finished.stderr.contains(&right), "{}", finished.stderr);

    let pinned = format!("sha256 = \"{right}\"");
    let (_setup, finished) = check(&pinned, |folder| Minimal::new(&["run"]).write(folder, "guest"));
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn every_plugin_that_cannot_be_loaded_is_told() {
    let setup = Setup::new();
    let bad = Minimal::new(&["run"]).describing_by("unreachable").write(setup.folder(), "bad");
    let worse = write(setup.folder(), b"nothing");
    let setup = setup.plugin("bad", &bad, &["a"], "").plugin("worse", &worse, &["b"], "").echo();
    let config = setup.write();
    let finished = finish(lictor(setup.folder()).arg("check").arg("--config").arg(config));
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("bad") && finished.stderr.contains("worse"), "{}", finished.stderr);
}

fn write(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("guest.wasm");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn compiled_plugins_are_kept_in_a_folder_of_the_servers_alone() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new().master("tester", &Identity::new("tester")).echo();
    let config = setup.write();
    let check = || {
        let checked = finish(lictor(setup.folder()).arg("check").arg("--config").arg(&config));
        assert_eq!(checked.code, Some(0), "{checked:?}");
    };
    check();
    let cache = setup.folder().join("cache");
    let compiled = || {
        let entries = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|found| found == "cwasm")).collect::<Vec<_>>()
    };
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let [kept] = &compiled()[..] else { panic!("{:?}", compiled()) };
    let made = fs::metadata(kept).unwrap().modified().unwrap();
    check();
    assert_eq!(fs::metadata(kept).unwrap().modified().unwrap(), made, "it was compiled again");
    // Code put there by somebody else is compiled over, never run.
    fs::write(kept, "not what was compiled").unwrap();
    check();
    assert!(fs::read(kept).unwrap().starts_with(b"\x7fELF"));
}

#[test]
fn what_gets_no_memory_to_be_loaded_is_told_the_key() {
    let setup = Setup::new();
    let setup = setup.plugin("guest", components::streams(), &["count"], "");
    let setup = setup.section("[limits]\nplugin_memory = \"1MiB\"");
    let said = finish(lictor(setup.folder()).arg("check").arg("--config").arg(setup.write()));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("(limits.plugin_memory)"), "{said:?}");
}

/// An endless start function is reported as such, not as an endless `describe`.
#[test]
fn a_start_function_without_end_is_told_as_one() {
    let endless = "(func $f (loop $on (br $on))) (start $f)";
    refused(&["its start function did not return within the plugin's timeout of 500ms"], |folder| {
        Minimal::new(&["run"]).in_its_module(endless, "").write(folder, "endless")
    });
    refused(&["its `describe` did not return within the plugin's timeout of 500ms"], |folder| {
        Minimal::new(&["run"]).describing_by("(loop $on (br $on))").write(folder, "endless")
    });
    let (_, checked) = check("cpu_time = \"50ms\"", |folder| {
        Minimal::new(&["run"]).in_its_module(endless, "").write(folder, "endless")
    });
    let words = "its start function computed for more than the plugin's cpu_time of 50ms";
    assert!(checked.stderr.contains(words), "{checked:?}");
    refused(&["it can't be instantiated: it trapped: wasm `unreachable` instruction executed"], |folder| {
        Minimal::new(&["run"]).in_its_module("(func $f unreachable) (start $f)", "").write(folder, "trapping")
    });
}

/// Holds however little `reply` allows.
#[test]
fn a_description_has_a_bound_of_its_own() {
    let summary = "s".repeat(5000);
    let described = Minimal::new(&["run"]).described("more", &summary, "more");
    let (_, checked) = check("reply = \"1KiB\"", |folder| described.write(folder, "described"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // The same text over and over: each summary is the last one's.
    let summaries = "(local $at i32) (local.set $at (i32.const 24)) (loop $on
        (i32.store (local.get $at) (i32.load (i32.const 1704)))
        (i32.store offset=4 (local.get $at) (i32.load offset=4 (i32.const 1704)))
        (local.set $at (i32.add (local.get $at) (i32.const 28)))
        (br_if $on (i32.lt_u (local.get $at) (i32.const 1704))))";
    let names: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    refused(&["its `describe` returned more than 1048576 bytes"], |folder| {
        let many = Minimal::new(&names).described("last", &"s".repeat(20_000), "last");
        many.describing_by(summaries).write(folder, "many")
    });
}
