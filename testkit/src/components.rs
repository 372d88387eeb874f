//! WebAssembly for the tests: the crates in `plugins/` and `tests/components/`, built once per run, and small
//! components made from text.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One line for each component of a crate: its function, the workspace, the package.
macro_rules! built {
    ($($(#[$doc:meta])* $name:ident: $workspace:literal $package:literal;)*) => {
        $($(#[$doc])*
        pub fn $name() -> &'static Path {
            static BUILT: OnceLock<PathBuf> = OnceLock::new();
            BUILT.get_or_init(|| build($workspace, $package))
        })*
    };
}

built! {
    /// The example plugin.
    echo: "plugins" "echo";
    /// The plugin that stores values under keys.
    kv: "plugins" "kv";
    /// The plugin with the monitoring checks.
    check: "plugins" "check";
    /// The plugin that shows text appended to a file.
    watch: "plugins" "watch";
    /// The plugin by which clients notify each other.
    topics: "plugins" "topics";
    /// The conformance plugin in Rust.
    conformance: "sdk/conformance/rust" "conformance";
    /// A plugin with a command for each misdeed.
    hostile: "tests/components" "hostile";
    /// A plugin that allocates through the SDK's allocator.
    allocating: "tests/components/allocating" "allocating";
    /// A plugin that prints, made with the SDK and the standard library.
    printing: "tests/components" "printing";
    /// A plugin that uses everything a plugin may be granted.
    granted: "tests/components" "granted";
    /// A plugin that uses key-value stores.
    stateful: "tests/components" "stateful";
    /// A plugin that reads files and runs other commands.
    reaching: "tests/components" "reaching";
    /// A plugin that runs other commands and streams their replies.
    relaying: "tests/components" "relaying";
    /// A plugin that sends HTTP requests.
    web: "tests/components" "web";
    /// A plugin that reads folders.
    folders: "tests/components" "folders";
    /// A plugin that publishes events and has no streams.
    announcing: "tests/components" "announcing";
    /// A plugin whose streams are driven by their own events.
    feeding: "tests/components" "feeding";
    /// A plugin with streams.
    streams: "tests/components" "streams";
}

/// The commands of [`streams`].
pub const STREAMS_COMMANDS: [&str; 16] = [
    "count",
    "refuse",
    "break-off",
    "trap",
    "spin",
    "stall",
    "leave",
    "grow",
    "whole",
    "flood",
    "take-back",
    "time-left",
    "print",
    "caller",
    "hoard",
    "nothing",
];

/// The commands of [`printing`].
pub const PRINTING_COMMANDS: [&str; 8] =
    ["half", "half-err", "half-fail", "half-panic", "line", "bytes", "logged", "lines"];

/// The commands of [`stateful`].
pub const STATEFUL_COMMANDS: [&str; 25] = [
    "kv-open",
    "kv-get",
    "kv-set",
    "kv-delete",
    "kv-exists",
    "kv-pages",
    "kv-cursor",
    "kv-increment",
    "kv-get-many",
    "kv-set-many",
    "kv-delete-many",
    "kv-hoard",
    "kv-set-sized",
    "kv-set-many-sized",
    "state-get",
    "state-set",
    "state-delete",
    "state-increment",
    "state-slow",
    "state-swap",
    "state-swap-out",
    "state-touch",
    "state-keep",
    "state-list",
    "state-flood",
];

/// The commands of [`hostile`].
pub const HOSTILE_COMMANDS: [&str; 38] = [
    "spin",
    "grow",
    "creep",
    "recurse",
    "deep",
    "trap",
    "panic",
    "exit",
    "sleep",
    "flood",
    "flood-err",
    "flood-line",
    "forge-log",
    "big",
    "blank-line",
    "ends-crlf",
    "not-utf8",
    "fail",
    "fail-big",
    "alloc",
    "leak",
    "whoami",
    "header",
    "headers",
    "body",
    "body-size",
    "time-left",
    "id",
    "args",
    "env",
    "files",
    "random",
    "queue-more",
    "queue-next",
    "queue-reply",
    "queue-leave",
    "queue-exit",
    "hoard",
];

/// Plugins import no WASI; the others need it for their misdeeds.
const TARGETS: [(&str, &str); 4] = [
    ("plugins", "wasm32-unknown-unknown"),
    ("sdk/conformance/rust", "wasm32-unknown-unknown"),
    ("tests/components/allocating", "wasm32-unknown-unknown"),
    ("tests/components", "wasm32-wasip2"),
];

fn build(workspace: &str, package: &str) -> PathBuf {
    let (_, target) =
        TARGETS.iter().find(|(known, _)| *known == workspace).expect("the workspace has a target");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository");
    let target_dir = root.join("target/plugins");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root.join(workspace));
    cargo.args(["build", "--quiet", "--release", "--locked", "--package", package, "--target", target]);
    cargo.arg("--target-dir").arg(&target_dir);
    // The settings of cargo and the user for the server's build are not for a plugin's.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_the_user = ["CARGO_HOME", "CARGO_NET", "CARGO_HTTP", "CARGO_REGISTRIES", "RUSTUP_"];
        let of_the_build = name.starts_with("CARGO") || name.starts_with("RUST");
        if of_the_build && !of_the_user.iter().any(|kept| name.starts_with(kept)) {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "{package} was not built; if {target} is missing, run `rustup target add {target}`. cargo says:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target_dir.join(target).join("release").join(package).with_extension("wasm")
}

/// A component of a few hundred bytes: `tests/components/minimal.wat` with some parts replaced.
pub struct Minimal {
    commands: Vec<[String; 3]>,
    imports: String,
    core_imports: String,
    with: String,
    describe: String,
    handle: String,
    version: String,
    exported: Option<String>,
}

impl Minimal {
    /// A plugin that answers `ok` to each of `commands`.
    pub fn new(commands: &[&str]) -> Self {
        let commands = commands.iter().map(|name| [(*name).into(), "answers ok".into(), (*name).into()]);
        Self {
            commands: commands.collect(),
            imports: String::new(),
            core_imports: String::new(),
            with: String::new(),
            describe: String::new(),
            handle: String::new(),
            version: "0.1.0".into(),
            exported: None,
        }
    }

    /// Adds a command with these texts: its name, its summary, its arguments.
    pub fn described(mut self, name: &str, summary: &str, usage: &str) -> Self {
        self.commands.push([name.into(), summary.into(), usage.into()]);
        self
    }

    /// Imports the interface `name` with the functions in `exports`, given as text.
    pub fn importing(mut self, name: &str, exports: &str) -> Self {
        self.imports.push_str(&format!("(import \"{name}\" (instance {exports}))\n"));
        self
    }

    /// Adds this text to the component, beside its own module.
    pub fn beside(mut self, text: &str) -> Self {
        self.imports.push_str(text);
        self
    }

    /// Adds `fields` to its own module, which imports the instances in `with`.
    pub fn in_its_module(mut self, fields: &str, with: &str) -> Self {
        self.core_imports.push_str(fields);
        self.with.push_str(with);
        self
    }

    /// Runs these instructions in `describe`.
    pub fn describing_by(mut self, instructions: &str) -> Self {
        self.describe = instructions.into();
        self
    }

    /// Runs these instructions in `handle`.
    pub fn handling_by(mut self, instructions: &str) -> Self {
        self.handle = instructions.into();
        self
    }

    /// Sets the version of `lictor:plugin` that it is built against.
    pub fn of_version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    /// Exports its commands under this name.
    pub fn exporting_as(mut self, name: &str) -> Self {
        self.exported = Some(name.into());
        self
    }

    /// Returns the binary component.
    pub fn bytes(&self) -> Vec<u8> {
        let commands = format!("lictor:plugin/commands@{}", self.version);
        let text = include_str!("../../tests/components/minimal.wat")
            .replace("{count}", &escaped(&(self.commands.len() as u32).to_le_bytes()))
            .replace("{data}", &escaped(&self.list()))
            .replace("{imports}", &self.imports)
            .replace("{core}", &self.core_imports)
            .replace("{with}", &self.with)
            .replace("{describe}", &self.describe)
            .replace("{handle}", &self.handle)
            .replace("{commands}", self.exported.as_ref().unwrap_or(&commands))
            .replace("{version}", &self.version);
        wat::parse_str(text).expect("minimal.wat is a component")
    }

    /// Writes the component into `folder` and returns its path.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name).with_extension("wasm");
        fs::write(&path, self.bytes()).expect("the component is written");
        path
    }

    /// Encodes `list<command-info>` for memory from address 16 on: records of seven words (three texts and a
    /// boolean), followed by the texts.
    fn list(&self) -> Vec<u8> {
        const BEGIN: usize = 16;
        const RECORD: usize = 7 * 4;
        let (mut records, mut texts) = (Vec::<u8>::new(), Vec::<u8>::new());
        for command in &self.commands {
            for text in command {
                let at = BEGIN + self.commands.len() * RECORD + texts.len();
                records.extend((at as u32).to_le_bytes());
                records.extend((text.len() as u32).to_le_bytes());
                texts.extend(text.as_bytes());
            }
            records.extend([1, 0, 0, 0]);
        }
        assert!(BEGIN + records.len() + texts.len() < 30_000, "the descriptions do not fit below the reply");
        records.extend(texts);
        records
    }
}

/// Encodes a string literal of the text format.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Makes a component of 21 KB that takes minutes and gigabytes to compile: every loop passes on every local.
pub fn bomb(folder: &Path) -> PathBuf {
    const LOOPS: usize = 200;
    const LOCALS: usize = 2000;
    let hand_on = |local| {
        let other = (local * 7 + 1) % LOCALS;
        format!("local.get {local} local.get {other} i32.add local.set {local} ")
    };
    let code: String = (0..LOCALS).map(hand_on).collect();
    let (begins, ends) = ("loop ".repeat(LOOPS), "local.get 0 br_if 0 end ".repeat(LOOPS));
    let locals = "i32 ".repeat(LOCALS);
    let function = format!(r#"(func (export "f") (local {locals}) {begins} {code} {ends})"#);
    let component = wat::parse_str(format!("(component (core module {function}))")).unwrap();
    assert!(component.len() < 22_000, "{} bytes", component.len());
    let path = folder.join("bomb.wasm");
    fs::write(&path, component).unwrap();
    path
}
