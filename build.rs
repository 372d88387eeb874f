//! Builds the example plugin `plugins/echo`, which `lictor init` writes into a new folder, to
//! `$OUT_DIR/echo.wasm`; and lists in `$OUT_DIR/kit.rs` the files from which `lictor plugin new` makes a
//! project, to embed them in the program.
//!
//! Without the WebAssembly target the plugin's file is empty, and a warning says what to do. The server is
//! the same without it.
//!
//! A packed crate holds no nested crates. It has their files in `packed/`, and they are reassembled in
//! `$OUT_DIR`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of `plugins/.cargo/config.toml`. Plugins built for it import no WASI.
const TARGET: &str = "wasm32-unknown-unknown";

/// Sources of the plugin. Only parts of the SDK's folder: its own tests leave build output there.
const SOURCES: [&str; 8] = [
    "plugins/echo",
    "plugins/Cargo.toml",
    "plugins/Cargo.lock",
    "plugins/.cargo",
    "sdk/rust/Cargo.toml",
    "sdk/rust/src",
    "sdk/rust/macros",
    "wit",
];

fn main() {
    let here = PathBuf::from(cargo_set("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(cargo_set("OUT_DIR"));
    let component = out.join("echo.wasm");

    println!("cargo:rerun-if-changed=build.rs");
    let is_checkout = here.join("plugins/echo/Cargo.toml").is_file();
    let root = if is_checkout { here } else { unpacked(&here, &out.join("checkout")) };
    if is_checkout {
        for source in SOURCES.iter().chain(&KIT) {
            println!("cargo:rerun-if-changed={source}");
        }
    }
    list_kit(&root);
    if !target_is_installed() {
        println!(
            "cargo:warning={TARGET} is not installed: `lictor init` will have no example plugin; \
             run `rustup target add {TARGET}` and build again"
        );
        return write(&component, &[]);
    }
    let built = build_echo(&root.join("plugins"), &root.join("target/plugins"));
    match fs::read(&built) {
        Ok(bytes) => write(&component, &bytes),
        Err(error) => panic!("plugins/echo was built, but {} cannot be read: {error}", built.display()),
    }
}

/// Folders from which `lictor plugin new` makes a project.
const KIT: [&str; 6] = ["sdk/rust", "sdk/js", "sdk/python", "sdk/c", "sdk/templates", "wit"];

/// Folders of build output within them.
const BUILT: [&str; 5] = ["target", "build", ".tools", "node_modules", "__pycache__"];

/// Reassembles in `root` the sources of plugins that the packed crate in `here` holds; returns `root`.
fn unpacked(here: &Path, root: &Path) -> PathBuf {
    println!("cargo:rerun-if-changed=packed");
    let mut files = Vec::new();
    for (from, folder) in [("", "sdk"), ("", "wit"), ("packed", "plugins"), ("packed", "sdk")] {
        collect(&here.join(from).join(folder), &mut files);
    }
    for file in files {
        let name = file.strip_prefix(here.join("packed")).or(file.strip_prefix(here)).unwrap_or(&file);
        let to = root.join(name);
        let is_renamed = to.extension().is_some_and(|extension| extension == "packed");
        copy(&file, &if is_renamed { to.with_extension("") } else { to });
    }
    root.to_owned()
}

/// Copies `from` to `to`.
fn copy(from: &Path, to: &Path) {
    let made = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to));
    if let Err(error) = made {
        panic!("{} cannot be copied to {}: {error}", from.display(), to.display());
    }
}

/// Writes the Rust text of a list: each file's path from the root, a flag if it is executable, and its bytes.
fn list_kit(root: &Path) {
    let mut files = Vec::new();
    for folder in KIT {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    let mut text = String::from("[\n");
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let runs = file.extension().is_some_and(|extension| extension == "sh");
        text.push_str(&format!(
            "    ({name:?}, {runs}, include_bytes!({:?})),\n",
            file.display().to_string()
        ));
    }
    text.push(']');
    write(&PathBuf::from(cargo_set("OUT_DIR")).join("kit.rs"), text.as_bytes());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_built = BUILT.iter().any(|built| path.ends_with(built));
        if path.is_dir() && !is_built {
            collect(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

/// Returns true if the standard library for the target is installed. The path is watched, so that adding the
/// target is enough.
fn target_is_installed() -> bool {
    let asked =
        Command::new(cargo_set("RUSTC")).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(asked) = asked else { return false };
    let folder = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    println!("cargo:rerun-if-changed={folder}");
    asked.status.success() && Path::new(&folder).is_dir()
}

fn build_echo(plugins: &Path, target_dir: &Path) -> PathBuf {
    let mut cargo = Command::new(cargo_set("CARGO"));
    // Runs in `plugins`, so that its `.cargo/config.toml` is read.
    cargo.current_dir(plugins);
    cargo.args(["build", "--release", "--locked", "--package", "echo", "--target", TARGET, "--target-dir"]);
    cargo.arg(target_dir);
    for (name, _) in env::vars_os() {
        if is_about_this_build(&name) {
            cargo.env_remove(name);
        }
    }
    let output = match cargo.output() {
        Ok(output) => output,
        Err(error) => panic!("cargo cannot be started to build plugins/echo: {error}"),
    };
    if !output.status.success() {
        panic!("building plugins/echo failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    target_dir.join(TARGET).join("release/echo.wasm")
}

/// Matches flags, wrappers (clippy's is one), profiles and folders meant for the server. With them the plugin
/// would be built wrongly, or into a locked folder.
fn is_about_this_build(name: &OsStr) -> bool {
    const NAMES: [&str; 6] = [
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTDOC",
    ];
    const PREFIXES: [&str; 7] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_ENCODED_",
        "CARGO_FEATURE_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_WASM32",
        "CARGO_UNSTABLE_",
    ];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn write(component: &Path, bytes: &[u8]) {
    if let Err(error) = fs::write(component, bytes) {
        panic!("{} cannot be written: {error}", component.display());
    }
}

/// Returns a variable that cargo always sets for a build script.
fn cargo_set(name: &str) -> String {
    match env::var(name) {
        Ok(value) => value,
        Err(error) => panic!("cargo sets {name} for a build script, but here: {error}"),
    }
}
