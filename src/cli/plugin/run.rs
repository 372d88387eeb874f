//! `lictor plugin run`: commands of a plugin, without a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::options::{CompileOptions, bytes, size, within};
use super::{Failure, output, script};
use crate::author::{self, HttpGrant, TrialCall, TrialRun};
use crate::cli::request::{RequestOptions, read_body};
use crate::client::{Request, private_file};
use crate::config::{
    ByteSize, ClientName, GuestFolder, HttpPrefix, Instances, Network, PluginName, StoreName,
};
use crate::text::InvalidText;

/// Run a component's command, or a script of several, without a server
///
/// The plugin gets every possible grant; the options below set the files, URLs and settings it can reach. Its
/// output and log go to standard error, followed by the cost of the command. A script lists calls with their
/// expected results; the exit code is 1 if a result differs. A script may also set the plugins' grants, as in
/// server.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin run plugins/echo.wasm echo hello
  lictor plugin run greet.wasm --config greeting=hello greet you
  lictor plugin run kv.wasm --state /tmp/kv.db kv-set colour blue
  lictor plugin run check.wasm --file /proc/loadavg check-load 5,4,3 10,8,6
  lictor plugin run resize.wasm --body picture.png resize 100 > small.png
  lictor plugin run greet.wasm --script test.toml          [[call]] tables: command, reply, code, …
  lictor plugin run shop.wasm --plugin kv=kv.wasm buy 17   buy may call kv's commands")]
pub(in crate::cli) struct Run {
    /// Component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Set a value that the plugin reads through wasi:config
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// Keep the plugin's stores in this file instead of in memory
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Plugin name that owns the stores in the state file [default: the component's file name]
    #[arg(long, value_name = "NAME", value_parser = named::<PluginName>)]
    name: Option<PluginName>,
    /// Grant another store, in addition to `default`
    #[arg(long, value_name = "NAME", value_parser = named::<StoreName>)]
    store: Vec<StoreName>,
    /// Grant a file, to read through lictor:plugin/files
    #[arg(long = "file", value_name = "PATH")]
    readable: Vec<PathBuf>,
    /// Grant a folder to read: its path in the plugin, and on this machine
    #[arg(long, value_name = "/NAME=FOLDER", value_parser = directory)]
    directory: Vec<(String, PathBuf)>,
    /// Grant HTTP requests to this URL and below
    #[arg(long, value_name = "URL", value_parser = url)]
    http: Vec<HttpPrefix>,
    /// Allow these URLs to resolve to addresses in this private network
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    http_network: Vec<Network>,
    /// Name of the calling client
    #[arg(long, value_name = "NAME", default_value = "dev", value_parser = named::<ClientName>)]
    client: ClientName,
    /// Maximum memory of an instance
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = |text: &str| size(text, "plugins.NAME", "memory"))]
    memory: ByteSize,
    /// Maximum size of a reply
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = |text: &str| size(text, "plugins.NAME", "reply"))]
    reply: ByteSize,
    /// Maximum host calls of one call (stores, files, network, other commands)
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = |text: &str| count(text, "plugins.NAME", "host_calls"))]
    host_calls: u64,
    /// Maximum bytes passed in these host calls
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = |text: &str| size(text, "plugins.NAME", "host_bytes"))]
    host_bytes: ByteSize,
    /// Maximum size of a request's body
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = |text: &str| size(text, "limits", "body"))]
    body_size: ByteSize,
    #[command(flatten)]
    compile: CompileOptions,
    /// Write a core dump to this file if the plugin traps: its memory and stack, for a debugger
    #[arg(long, value_name = "FILE")]
    core_dump: Option<PathBuf>,
    /// Pass this file as the request's body; - is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    request: RequestOptions,
    /// Load another plugin, whose commands this one may call; it gets the same grants
    #[arg(long = "plugin", value_name = "NAME=FILE", value_parser = plugin)]
    others: Vec<(PluginName, PathBuf)>,
    /// Run the calls in this file in order; stores persist between them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "body", "headers", "raw", "core_dump"])]
    script: Option<PathBuf>,
    /// Sharing of instances between the script's calls, as in server.toml: per-request, per-client or shared
    #[arg(long, value_name = "WHOSE", value_parser = instances)]
    instances: Option<Instances>,
    /// Command and arguments
    #[arg(
        value_name = "CMD",
        required_unless_present = "script",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// Message after a command was denied something.
const OPTIONS_THAT_GRANT: &str = "options say what a plugin may reach here: --http URL (and --http-network for one that is not public), --file PATH, \
     --directory /NAME=FOLDER, --store NAME, --config KEY=VALUE, --plugin NAME=FILE";

/// Default time limit of a command: as in a config file.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        match &self.script {
            Some(path) => script::run(path, self.client.as_ref(), self.plugins()),
            // Clap does not require the script if a conflicting argument is present.
            None if self.instances.is_some() => {
                Err(Failure::usage("--instances needs --script: a single command has its own instance"))
            }
            None => self.run_one(),
        }
    }

    /// The plugin to run, and its grants.
    fn plugins(&self) -> TrialRun {
        let networks: Vec<_> = self.http_network.iter().map(|network| network.0).collect();
        let others = self.others.iter().map(|(name, file)| (name.to_string(), file.clone()));
        TrialRun {
            granted: BTreeMap::new(),
            component: self.file.clone(),
            others: others.collect(),
            instances: self.instances.unwrap_or_default(),
            config: self.config.iter().cloned().collect(),
            state: self.state.clone(),
            name: self.name.as_ref().map(ToString::to_string),
            stores: self.store.iter().map(ToString::to_string).collect(),
            files: self.readable.clone(),
            directories: self.directory.clone(),
            http: HttpGrant {
                urls: self.http.iter().map(|url| (url.0.clone(), networks.clone()).into()).collect(),
            },
            compiling: self.compile.compiling(),
            memory_bytes: usize::try_from(self.memory.bytes()).unwrap_or(usize::MAX),
            reply_bytes: usize::try_from(self.reply.bytes()).unwrap_or(usize::MAX),
            host_calls: self.host_calls,
            host_bytes: self.host_bytes.bytes(),
            body_bytes: usize::try_from(self.body_size.bytes()).unwrap_or(usize::MAX),
            timeout: self.request.timeout().unwrap_or(DEFAULT_TIMEOUT),
            core_dump: self.core_dump.is_some(),
        }
    }

    fn run_one(self) -> Result<(), Failure> {
        let request =
            Request::from_arguments(&self.command).map_err(|error| Failure::usage(error.to_string()))?;
        let request = self.request.applied(request).map_err(|error| Failure::usage(error.to_string()))?;
        let request = match &self.body {
            Some(path) => request.body(read_body(path)?),
            None => request,
        };
        let request = request.encode().map_err(|error| Failure::usage(error.to_string()))?;
        let call = TrialCall { client: self.client.to_string(), request };
        let plugins = self.plugins();
        if !call.is_of_server() {
            call.check(plugins.body_bytes).map_err(|error| Failure::usage(format!("{error:#}")))?;
        }
        // If output fails, the command still runs to its end.
        let (mut reply, mut shown) = (self.request.reply(), Ok(()));
        let trial = author::try_out(&plugins, &call, &mut |part| {
            if shown.is_ok() {
                shown = reply.part(part);
            }
        });
        shown?;
        let trial = trial.map_err(|error| Failure::failed(format!("{error:#}")))?;
        output::diagnostics(&format!(
            "instance {:.1?}, call {:.1?} ({:.1?} computing), memory {}, {} calls to the host",
            trial.instantiation,
            trial.wall,
            trial.cpu,
            bytes(trial.memory_bytes),
            trial.host_calls
        ));
        if let (Some(path), Some(dump)) = (&self.core_dump, &trial.core_dump) {
            private_file::replace(path, dump)
                .map_err(|error| Failure::failed(format!("can't write {}: {error}", path.display())))?;
            output::diagnostics(&format!("core dump of {} in {}", bytes(dump.len()), path.display()));
        }
        match trial.answer {
            Ok(body) => {
                reply.part(&body)?;
                reply.end()
            }
            Err(error) => {
                reply.end()?;
                if error.code.as_str() == "denied" {
                    output::note(OPTIONS_THAT_GRANT);
                }
                Err(Failure::failed(format!("{} ({}, {})", error.message, error.code, error.outcome)))
            }
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    if key.is_empty() {
        return Err("the key before `=` is empty: write KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn directory(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("write /NAME=FOLDER")?;
    let name = GuestFolder::try_from(name.to_owned()).map_err(InvalidText::in_full)?;
    Ok((name.0, folder.into()))
}

fn plugin(text: &str) -> Result<(PluginName, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write NAME=FILE, NAME as server.toml would call it")?;
    let name = named(name)?;
    Ok((name, file.into()))
}

fn instances(text: &str) -> Result<Instances, String> {
    Instances::try_from(text.to_owned()).map_err(InvalidText::in_full)
}

fn url(text: &str) -> Result<HttpPrefix, String> {
    HttpPrefix::try_from(text.to_owned()).map_err(InvalidText::in_full)
}

fn network(text: &str) -> Result<Network, String> {
    Network::try_from(text.to_owned()).map_err(InvalidText::in_full)
}

/// Parses a name in the config's notation.
fn named<T: FromStr<Err = InvalidText>>(text: &str) -> Result<T, String> {
    text.parse().map_err(InvalidText::in_full)
}

/// Parses a number in the config's notation, within the range of this key.
fn count(text: &str, section: &str, key: &str) -> Result<u64, String> {
    let count = text.parse().map_err(|_| "write a whole number".to_owned())?;
    within(section, key, count).map(|()| count)
}
