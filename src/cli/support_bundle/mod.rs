//! `lictor support-bundle`: one file with what somebody needs who helps, and no secret.

mod log;
mod tar;

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use self::tar::Archive;
use super::config_file::ConfigFile;
use super::doctor;
use super::{Exit, Failure, output, question};
use crate::config::{self, Config};
use crate::files::{Opened, make, read_named};
use crate::identity::Utc;

/// The most bytes of a file in the bundle. Of the log the end is kept, of others the beginning.
const MAX_ENTRY_BYTES: usize = 2 << 20;

/// The most files of a config.
const MAX_CONFIG_FILES: usize = 100;

/// The shortest value of a setting that is looked for in the bundle: shorter ones are words.
const LEAST_SECRET_BYTES: usize = 6;

/// Files by which the system tells its version and its limits.
const OF_SYSTEM: [&str; 9] = [
    "/etc/os-release",
    "/proc/version",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/self/limits",
    "/proc/self/cgroup",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/cpu.max",
];

const METRICS: &str = "metrics.txt";

/// Built-in commands whose replies are in the bundle, and their names there.
const OF_SERVER: [(&[&str], &str); 4] = [
    (&["@status"], "status.json"),
    (&["@metrics"], METRICS),
    (&["@plugins"], "plugins.json"),
    (&["@clients"], "clients.json"),
];

/// Write a file for somebody who helps: config, examination and state of the server, without secrets
///
/// Contains the config with everything hidden that may be secret, what `lictor doctor` says, the replies of a
/// running server to @status, @metrics, @plugins and @clients, the limits of the system, and with --log the
/// end of a log. No key, secret, argument of a command, output of a plugin or stored value is in it. Names of
/// clients and plugins, permissions, addresses and paths are. Lists the content, and asks before it writes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor support-bundle
  runuser -u lictor -- lictor support-bundle --config /etc/lictor/server.toml --output /tmp/lictor.tar
  journalctl -u lictor -o cat -n 10000 > log && lictor support-bundle --log log --yes")]
pub(super) struct SupportBundle {
    #[command(flatten)]
    config: ConfigFile,
    /// Log of the server, in JSON, whose end is included
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// File to write, which must not exist [default: lictor-support-TIME.tar]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write without asking
    #[arg(long)]
    yes: bool,
}

/// A file of the bundle.
struct Entry {
    name: String,
    text: String,
}

impl Entry {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

impl SupportBundle {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.config.want()?;
        let now = SystemTime::now();
        let path = self.output.clone().unwrap_or_else(|| {
            let time: String = Utc(now).to_string().chars().filter(char::is_ascii_alphanumeric).collect();
            format!("lictor-support-{time}.tar").into()
        });
        if path.symlink_metadata().is_ok() {
            return Err(exists(&path));
        }
        let entries = self.entries()?;
        let list: Vec<_> =
            entries.iter().map(|Entry { name, text }| format!("  {:>9}  {name}", text.len())).collect();
        output::line(&format!("{} will contain, in bytes:\n{}", path.display(), list.join("\n")))?;
        self.confirm()?;
        let mut archive = Archive::new(now);
        entries
            .iter()
            .for_each(|Entry { name, text }| archive.add(&format!("lictor-support/{name}"), text.as_bytes()));
        make(&path, 0o600, &archive.finish()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => Failure::failed(format!("cannot write {}: {error}", path.display())),
        })?;
        output::line(&format!("wrote {}; `tar -xOf {}` shows all of it", path.display(), path.display()))
    }

    fn confirm(&self) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !output::is_interactive() {
            let words = "nothing was written: there is no terminal to ask; --yes writes without asking";
            return Err(Failure::usage(words));
        }
        match question::confirm("Write this?")? {
            true => Ok(()),
            false => Err(Failure::failed("nothing was written")),
        }
    }

    fn entries(&self) -> Result<Vec<Entry>, Failure> {
        let mut entries = vec![Entry::new("version.txt", format!("lictor {}\n", env!("CARGO_PKG_VERSION")))];
        entries.extend(self.log.as_deref().map(log_of).transpose()?);
        entries.extend(configs(&self.config.path));
        let (findings, _) = doctor::examine(&self.config)?;
        entries.push(Entry::new("doctor.txt", doctor::to_text(&findings) + "\n"));
        entries.push(Entry::new("doctor.json", doctor::to_json(&findings).to_string() + "\n"));
        entries.extend(of_server(&self.config.path));
        entries.extend(OF_SYSTEM.iter().filter_map(|path| {
            let bytes = read_named(Path::new(path), MAX_ENTRY_BYTES as u64).ok()?;
            Some(Entry::new(format!("system{path}"), String::from_utf8_lossy(&bytes)))
        }));
        let secrets = secrets(&self.config.path);
        for Entry { text, .. } in &mut entries {
            for secret in &secrets {
                *text = text.replace(secret, "…");
            }
            text.truncate(text.floor_char_boundary(MAX_ENTRY_BYTES));
        }
        Ok(entries)
    }
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} exists; nothing is overwritten: name another with --output FILE",
        path.display()
    ))
}

fn log_of(path: &Path) -> Result<Entry, Failure> {
    /// A log that is larger is cut first, as by `tail`.
    const MAX_LOG_BYTES: u64 = 256 << 20;
    let bytes = read_named(path, MAX_LOG_BYTES)
        .map_err(|fault| Failure::usage(format!("{}: {}", path.display(), fault.what())))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Entry::new("log.jsonl", log::end(&text, MAX_ENTRY_BYTES)))
}

/// The config and the files that it includes, redacted.
fn configs(main: &Path) -> Vec<Entry> {
    let read = |path: &Path| {
        let bytes = Opened::file(path).and_then(|file| file.bytes(MAX_ENTRY_BYTES as u64)).ok()?;
        String::from_utf8(bytes).ok()
    };
    let Some(text) = read(main) else { return Vec::new() };
    let included = config::included_files(main, &text);
    let mut entries = vec![Entry::new("config/server.toml", config::redacted(main, &text))];
    let others = included.iter().take(MAX_CONFIG_FILES).enumerate().filter_map(|(number, path)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Some(Entry::new(format!("config/{:02}-{name}", number + 1), config::redacted(path, &read(path)?)))
    });
    entries.extend(others);
    let left_out = included.len().saturating_sub(MAX_CONFIG_FILES);
    if left_out > 0 {
        let text = format!("{left_out} more included files are left out\n");
        entries.push(Entry::new("config/left-out.txt", text));
    }
    entries
}

/// The replies of the running server, or the reason why there are none.
fn of_server(path: &Path) -> Vec<Entry> {
    let absent = |why: &str| vec![Entry::new("server/absent.txt", format!("{why}\n"))];
    let Ok(loaded) = config::load_of_anybody(path) else {
        return absent("the config does not tell where the server is");
    };
    let mut replies = Vec::new();
    for (words, name) in OF_SERVER {
        let text = match doctor::server::ask(&loaded, words) {
            Ok(None) => return absent("no server runs"),
            Ok(Some(Value::Object(reply))) if name == METRICS => {
                reply.get("metrics").and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            Ok(Some(reply)) => format!("{reply}\n"),
            Err(failure) if replies.is_empty() && failure.exit() != Exit::Failed => {
                return absent(failure.report().unwrap_or("the server does not answer"));
            }
            Err(failure) => {
                let why = failure.report().unwrap_or("no reply").to_owned();
                replies.push(Entry::new(format!("server/{name}.absent.txt"), why + "\n"));
                continue;
            }
        };
        replies.push(Entry::new(format!("server/{name}"), text));
    }
    replies
}

/// The values of plugins' settings, of which none may be in the bundle, whatever wrote it there.
fn secrets(path: &Path) -> Vec<String> {
    let loaded = config::load_to_check(path).or_else(|_| config::load_of_anybody(path));
    let settings = |config: &Config| {
        let settings = config.plugins.values().flat_map(|plugin| plugin.config.iter().flatten());
        let values = settings.filter_map(|(_, setting)| setting.value());
        values.filter(|value| value.len() >= LEAST_SECRET_BYTES).map(str::to_owned).collect()
    };
    loaded.map(|loaded| settings(&loaded.config)).unwrap_or_default()
}
