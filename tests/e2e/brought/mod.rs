//! Popular crates that authors bring along, in projects made by `lictor plugin new`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use testkit::tools::{finish, lictor};

const SOURCE: &str = include_str!("rust.rs");

/// The crates as docs/languages.md declares them, for the target without WASI.
const CRATES: &str = r#"
lictor-plugin = { path = "lictor/sdk/rust", features = ["getrandom"] }
serde_json = "1"
regex = "1"
chrono = { version = "0.4", default-features = false, features = ["alloc"] }
uuid = { version = "1", features = ["v4", "rng-getrandom"] }
rand = "0.9"
minijinja = "2"
csv = "1"
"#;

const NOW: &str = "
fn now_by_chrono(time: Duration) -> Result<chrono::DateTime<chrono::Utc>, Failure> {
    let now = chrono::DateTime::from_timestamp(time.as_secs() as i64, time.subsec_nanos());
    now.ok_or_else(|| Failure::failed(\"the clock is wrong\"))
}
";

/// The same crates as their own documentation declares them, for the target with the whole standard library.
const CRATES_WITH_STD: &str = r#"
lictor-plugin = { path = "lictor/sdk/rust" }
serde_json = "1"
regex = "1"
chrono = "0.4"
uuid = { version = "1", features = ["v4"] }
rand = "0.9"
minijinja = "2"
csv = "1"
"#;

const NOW_WITH_STD: &str = "
fn now_by_chrono(_time: Duration) -> Result<chrono::DateTime<chrono::Utc>, Failure> {
    Ok(chrono::Utc::now())
}
";

/// Makes a project with these crates and builds it without optimization, so that a call needs the most stack.
fn built(folder: &Path, options: &[&str], crates: &str, now: &str) -> PathBuf {
    let new = ["plugin", "new", "brought", "--lang", "rust"];
    let made = finish(lictor(folder).args(new).args(options));
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = folder.join("brought");
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let (before, rest) = manifest.split_once("[dependencies]").unwrap();
    let (_, after) = rest.split_once("\n[").unwrap();
    fs::write(project.join("Cargo.toml"), format!("{before}[dependencies]{crates}\n[{after}")).unwrap();
    fs::write(project.join("src/lib.rs"), format!("{SOURCE}{now}")).unwrap();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/brought");
    let mut build = Command::new(project.join("build.sh"));
    build.current_dir(&project).env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    build.env("LICTOR", env!("CARGO_BIN_EXE_lictor"));
    let output = build.env("CARGO_PROFILE_RELEASE_LTO", "off").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    project.join("brought.wasm")
}

/// Runs a command; returns its output. Compiling so much unoptimized code takes a while.
fn run(component: &Path, arguments: &[&str]) -> String {
    let folder = component.parent().unwrap();
    fs::write(folder.join("rows.csv"), "name,count\na,2\n\"b, c\",40\n").unwrap();
    let mut command = lictor(folder);
    command
        .args(["plugin", "run", "--compile-time", "10m", "--body", "rows.csv"])
        .arg(component)
        .args(arguments);
    let output = command.env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Checks that all commands work.
fn works(component: &Path) {
    let says = |arguments: &[&str]| run(component, arguments);
    assert_eq!(says(&["json", "100"]), "200");
    assert_eq!(says(&["words", "one two three"]), "3");
    assert_eq!(says(&["hello", "ada"]), "hello ADA");
    assert_eq!(says(&["sum"]), "42");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for seconds in says(&["now"]).split(' ') {
        assert!(now.abs_diff(seconds.parse().unwrap()) < 600, "{seconds}");
    }
    let ids = [says(&["ids"]), says(&["ids"])].join(" ");
    assert_eq!(ids.split(' ').collect::<HashSet<_>>().len(), 4, "{ids}");
    let (one, other) = (says(&["dice", "50"]), says(&["dice", "50"]));
    assert!(one != other && one.len() == 50 && one.bytes().all(|die| (b'1'..=b'6').contains(&die)), "{one}");
}

#[test]
fn crates_of_rust_work_without_wasi() {
    let folder = TempDir::new().unwrap();
    let component = built(folder.path(), &[], CRATES, NOW);
    works(&component);
    let cache = component.parent().unwrap().join("cache");
    let inspected = finish(
        lictor(folder.path()).args(["plugin", "inspect"]).arg(&component).env("XDG_CACHE_HOME", cache),
    );
    let imported: Vec<_> = inspected.stdout.lines().filter(|line| line.contains("wasi:")).collect();
    let few = ["wasi:clocks/", "wasi:random/", "wasi:io/poll"];
    assert!(imported.iter().all(|line| few.iter().any(|known| line.contains(known))), "{inspected:?}");
}

#[test]
fn crates_of_rust_work_as_their_pages_say_where_the_standard_library_is() {
    let folder = TempDir::new().unwrap();
    works(&built(folder.path(), &["--std"], CRATES_WITH_STD, NOW_WITH_STD));
}

#[test]
fn the_standard_library_is_a_choice_of_rust_alone() {
    let folder = TempDir::new().unwrap();
    let made = finish(lictor(folder.path()).args(["plugin", "new", "a", "--lang", "c", "--std"]));
    assert_eq!(made.code, Some(2), "{made:?}");
    assert!(made.stderr.contains("--std is only for Rust"), "{made:?}");
    assert!(!folder.path().join("a").exists());
}

#[test]
fn a_build_that_fails_leaves_no_component_of_before() {
    let folder = TempDir::new().unwrap();
    let made = finish(lictor(folder.path()).args(["plugin", "new", "broken", "--lang", "rust"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let project = folder.path().join("broken");
    fs::write(project.join("broken.wasm"), "of before").unwrap();
    fs::write(project.join("src/lib.rs"), "no Rust").unwrap();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/brought");
    let built = Command::new(project.join("build.sh")).env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(!built.status.success());
    assert!(!project.join("broken.wasm").exists());
}
