//! The crate packed by `cargo package`: a program installed from it works like a build in a checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use testkit::tools::{at_home, finish, lictor};

use crate::initialized::{Serving, initialized_by};

/// Languages of new projects, the last two with all options that change the files.
const PROJECTS: [&[&str]; 5] = [
    &["--lang", "js"],
    &["--lang", "python"],
    &["--lang", "c"],
    &["--lang", "rust"],
    &["--lang", "rust", "--std"],
];

#[test]
fn a_packed_crate_installs_and_works() {
    let folder = TempDir::new().unwrap();
    let installed = install(&unpack(folder.path()), folder.path());

    let (served, port) = initialized_by(at_home(&installed, folder.path()));
    let _serving = Serving::begin_by(at_home(&installed, served.path()), served.path(), port);
    let echoed = finish(at_home(&installed, served.path()).args(["call", "echo", "hello"]));
    assert_eq!((echoed.code, echoed.stdout.as_str()), (Some(0), "hello\n"), "{echoed:?}");

    for options in PROJECTS {
        let of_package = project(at_home(&installed, folder.path()), options);
        let of_checkout = project(lictor(folder.path()), options);
        assert!(of_checkout.len() > 5, "{options:?}: {:?}", of_checkout.keys());
        for path in of_checkout.keys().chain(of_package.keys()) {
            assert!(of_checkout.get(path) == of_package.get(path), "{options:?}: {}", path.display());
        }
    }
    builds(&installed, folder.path());
}

/// Packs this checkout and unpacks the package into `folder`; returns the crate's folder.
fn unpack(folder: &Path) -> PathBuf {
    let mut pack = Command::new(env!("CARGO"));
    pack.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Uncommitted changes of a working copy are part of the test.
    pack.args([
        "package",
        "--offline",
        "--locked",
        "--no-verify",
        "--allow-dirty",
        "--quiet",
        "--package",
        "lictor",
    ]);
    run(pack.arg("--target-dir").arg(folder.join("packed")));
    let name = concat!("lictor-", env!("CARGO_PKG_VERSION"));
    let file = folder.join("packed/package").join(format!("{name}.crate"));
    // The files get present times: by their times in the package, of 2006, cargo would consider them built.
    run(Command::new("tar").arg("xzmf").arg(file).arg("-C").arg(folder));
    folder.join(name)
}

/// Options that keep cargo from taking the packed crate's build for the checkout's.
const APART: [&str; 4] = [
    "--config",
    "profile.dev.package.lictor.opt-level=0",
    "--config",
    "profile.dev.package.lictor.codegen-units=255",
];

/// Installs the crate in `source` with the tests' profile, so that most of its dependencies are already
/// built. The program itself goes into a folder of this test: others run the one beside those dependencies.
fn install(source: &Path, folder: &Path) -> PathBuf {
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let mut install = Command::new(env!("CARGO"));
    install.current_dir(folder).env_remove("CARGO_TARGET_DIR").env("CARGO_BUILD_BUILD_DIR", built);
    install
        .args(APART)
        .args(["install", "--offline", "--locked", "--debug", "--quiet", "--path"])
        .arg(source);
    install.arg("--root").arg(folder.join("root")).arg("--target-dir").arg(folder.join("built"));
    run(&mut install);
    folder.join("root/bin/lictor")
}

/// Returns the files of a project made by a program, and deletes the project.
fn project(mut program: Command, options: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let folder = program.get_current_dir().expect("a program has a folder").join("project");
    let made = finish(program.args(["plugin", "new", "project"]).args(options));
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(&folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    fs::remove_dir_all(folder).unwrap();
    files
}

/// Has the installed program make a project in Rust, which its own script builds and tests.
fn builds(installed: &Path, folder: &Path) {
    let made = finish(at_home(installed, folder).args(["plugin", "new", "greet", "--lang", "rust"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut build = Command::new(folder.join("greet/build.sh"));
    build.current_dir(folder.join("greet")).env("LICTOR", installed);
    run(build.env("CARGO_TARGET_DIR", root().join("target/brought")));
    let called = finish(at_home(installed, folder).args(["plugin", "inspect", "greet/greet.wasm"]));
    assert_eq!(called.code, Some(0), "{called:?}");
}

/// Runs a command to its end, however long that takes.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
