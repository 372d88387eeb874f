//! The rules, as tables.

/// Modules of the crate that each module may name. ARCHITECTURE.md gives the reasons.
pub(crate) const MAY_KNOW: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["app", "author", "client", "config", "files", "identity", "loadgen", "text"]),
    (
        "author",
        &[
            "app",
            "authz",
            "config",
            "debug_file",
            "files",
            "idempotency",
            "identity",
            "plugin",
            "reload",
            "route",
            "server",
            "state",
            "telemetry",
            "text",
            "wire",
        ],
    ),
    ("admin", &["files", "telemetry"]),
    ("debug_file", &[]),
    ("state", &["files", "sync", "telemetry"]),
    ("idempotency", &["state", "sync", "telemetry", "wire"]),
    (
        "app",
        &[
            "admin",
            "authz",
            "config",
            "files",
            "idempotency",
            "identity",
            "otlp",
            "plugin",
            "reload",
            "route",
            "server",
            "state",
            "sync",
            "telemetry",
            "units",
            "usage",
            "watermark",
            "wire",
        ],
    ),
    (
        "server",
        &[
            "authz",
            "files",
            "idempotency",
            "identity",
            "network",
            "plugin",
            "route",
            "sync",
            "telemetry",
            "text",
            "units",
            "watermark",
            "wire",
        ],
    ),
    ("otlp", &["system_trust", "telemetry", "text"]),
    ("reload", &["config", "files", "sync", "text"]),
    (
        "plugin",
        &[
            "debug_file",
            "files",
            "identity",
            "state",
            "sync",
            "system_trust",
            "telemetry",
            "text",
            "units",
            "usage",
            "watermark",
            "wire",
        ],
    ),
    ("watermark", &["telemetry"]),
    ("route", &["authz", "usage"]),
    ("authz", &["identity", "text", "usage", "wire"]),
    ("telemetry", &["network", "sync", "text", "units", "wire"]),
    ("config", &["authz", "files", "identity", "text", "units"]),
    ("client", &["files", "identity"]),
    ("loadgen", &["client", "sync"]),
    ("identity", &["sync", "text"]),
    ("wire", &["text"]),
    ("files", &["sync", "text", "units"]),
    ("network", &[]),
    ("sync", &[]),
    ("system_trust", &["identity"]),
    ("text", &[]),
    ("units", &["text"]),
    ("usage", &[]),
    ("lib", &[]),
];

/// Modules that may name an external crate. A crate missing here may be named anywhere.
pub(crate) const MAY_USE: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("wasmtime_wasi_http", &["plugin"]),
    ("wasmtime_wasi_io", &["plugin"]),
    ("hyper", &["admin", "otlp", "plugin"]),
    ("hyper_util", &["admin", "otlp"]),
    ("rustls_native_certs", &["system_trust"]),
    (
        "tokio",
        &[
            "admin",
            "app",
            "author",
            "cli",
            "client",
            "idempotency",
            "loadgen",
            "otlp",
            "plugin",
            "reload",
            "server",
            "state",
            "telemetry",
            "watermark",
        ],
    ),
    ("arc_swap", &["server"]),
    ("tokio_util", &["idempotency", "plugin", "server"]),
    ("futures_util", &["server"]),
    ("socket2", &["admin", "server"]),
    ("tokio_rustls", &["client", "loadgen", "otlp", "plugin", "server"]),
    (
        "rustls",
        &["cli", "client", "config", "identity", "loadgen", "otlp", "plugin", "server", "system_trust"],
    ),
    ("webpki", &["identity"]),
    ("x509_parser", &["cli", "identity"]),
    ("rusqlite", &["state"]),
    ("addr2line", &["plugin"]),
    ("prometheus_client", &["telemetry"]),
    ("wac_graph", &["author"]),
    ("wit_bindgen_c", &["author"]),
    ("wit_bindgen_core", &["author"]),
    ("wit_component", &["author"]),
    ("wit_parser", &["author"]),
    ("rcgen", &["author", "cli"]),
    ("hdrhistogram", &["cli", "loadgen"]),
    ("indicatif", &["cli"]),
    ("clap", &["cli", "main"]),
    ("rustyline", &["cli"]),
    ("toml", &["config"]),
    ("toml_parser", &["config"]),
    ("annotate_snippets", &["config"]),
    ("anyhow", &["admin", "app", "author", "cli", "debug_file", "plugin", "reload", "server"]),
    ("rlimit", &["app", "cli"]),
    (
        "tracing",
        &[
            "admin",
            "app",
            "author",
            "idempotency",
            "otlp",
            "plugin",
            "reload",
            "server",
            "telemetry",
            "watermark",
        ],
    ),
    ("tracing_subscriber", &["telemetry"]),
    ("tracing_appender", &["telemetry"]),
];

/// Words by which a file writes or picks exit codes, and the files that may use each. One file writes for all
/// of `cli`, so that no foreign text reaches a terminal unescaped; one writes the log. Clippy finds
/// `println!` and its kin.
pub(crate) const MAY_SPEAK: &[(&str, &[&str])] = &[
    ("stdout()", &["src/cli/output.rs"]),
    // A progress bar with only its own words.
    ("stderr()", &["src/cli/output.rs", "src/cli/bench/bar.rs", "src/telemetry/mod.rs"]),
    ("ExitCode", &["src/cli/exit.rs", "src/main.rs"]),
    ("process::exit", &[]),
];

/// Ways to write errors with everything they quote, and the files of `src/plugin` that may: wasmtime's errors
/// about a component contain names chosen by its author.
pub(crate) const MAY_QUOTE: &[(&str, &[&str])] = &[
    ("{error:#}", &["src/plugin/load/mod.rs", "src/plugin/sandbox.rs", "src/plugin/engine.rs"]),
    ("{error:?}", &[]),
    (".chain()", &["src/plugin/debug/backtrace.rs"]),
];

/// Words by which a file is opened, and the files that may use each: all others let `files` open anything
/// written by others. The files listed here create and write files, or open their own.
pub(crate) const MAY_OPEN: &[(&str, &[&str])] = &[
    // Two sync files they made: a folder's new name, a backup. The last reads the kernel's figures, as
    // `available.rs` below.
    (
        "File::open",
        &[
            "src/files/mod.rs",
            "src/state/sqlite/schema.rs",
            "src/state/sqlite/backup.rs",
            "src/watermark/usage.rs",
        ],
    ),
    ("File::options", &[]),
    ("File::create", &[]),
    ("File::create_new", &[]),
    // Writes to the kernel, about the process itself.
    ("fs::write", &["src/plugin/load/confine.rs"]),
    (
        "OpenOptions",
        &[
            "src/files/make.rs",
            "src/plugin/load/folder.rs",
            "src/state/sqlite/backup.rs",
            "src/state/sqlite/schema.rs",
        ],
    ),
    // By the number of a descriptor that `files` opened.
    ("fs::read", &["src/plugin/load/cache/mod.rs"]),
    (
        "fs::read_to_string",
        &["src/app/addresses.rs", "src/telemetry/metrics/process.rs", "src/watermark/available.rs"],
    ),
    ("fs::copy", &[]),
    ("tokio::fs", &[]),
    ("deserialize_file", &["src/plugin/load/cache/mod.rs"]),
    ("pem_file_iter", &[]),
    ("from_pem_file", &[]),
    ("openat", &["src/files/mod.rs", "src/files/walk.rs"]),
    ("open_with_flags", &["src/state/sqlite/schema.rs"]),
    ("Connection::open", &["src/state/sqlite/backup.rs"]),
];

pub(crate) const MAX_FILE_LINES: usize = 400;

/// Generated or secret files, which are never committed.
pub(crate) const NEVER_TRACKED: &[&str] = &["wasm", "cwasm", "key", "pem", "der", "p12", "db", "log"];

/// Text forbidden in all files, split in two so that it does not occur in this one.
pub(crate) const FORBIDDEN_TEXT: &[(&str, &str, &str)] = &[
    ("/wo", "rk/", "a path of somebody's machine"),
    ("/ro", "ot/", "a path of somebody's machine"),
    ("/Us", "ers/", "a path of somebody's machine"),
    ("index.cra", "tes.io", "a registry's host; name the package"),
    ("static.cra", "tes.io", "a registry's host; name the package"),
    ("registry.np", "mjs.org", "a registry's host; name the package"),
    ("py", "pi.org", "a registry's host; name the package"),
    ("files.python", "hosted.org", "a registry's host; name the package"),
    ("proxy.go", "lang.org", "a registry's host; name the package"),
    ("<<<<", "<<< ", "a conflict that was not resolved"),
    (">>>>", ">>> ", "a conflict that was not resolved"),
];

/// Words that mark unfinished work.
pub(crate) const FORBIDDEN_WORDS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];
