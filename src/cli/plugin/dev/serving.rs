//! The server of `lictor plugin dev`: in this process, with a generated config or the author's own.
//!
//! It starts once there is a component to serve, since a config with a missing plugin cannot take effect.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::project::Project;
use crate::app::{self, Running};
use crate::author::{self, Compiling};
use crate::cli::cert::issue::{LOCAL_NAMES, Role};
use crate::cli::config_file::{CONFIG_FILE, load_by};
use crate::cli::init::{make_certificate, own_files};
use crate::cli::target::reached_at;
use crate::cli::{Failure, output, paste};
use crate::config::{self, Config, Limits, Loaded, PluginName, quoted};
use crate::files::{self, Opened};
use crate::text::shell_word;

/// Maximum size of a component.
const MOST_BYTES: u64 = 1 << 30;

/// Timeout for the server to stop, beyond its config's drain time.
const STOPPING: Duration = Duration::from_secs(30);

/// Serves the project's component.
pub(super) struct Serving {
    basis: Basis,
    server: Option<Server>,
    /// The listen addresses of the config at the start.
    listen: Vec<SocketAddr>,
    /// Set once a component has been served.
    has_served: bool,
    /// Set while the component of the project's present sources is served, so that only its tests have to
    /// run.
    pub(super) is_current: bool,
}

enum Basis {
    /// A generated config in this folder: the folder as named from the current one, and its real path.
    Made { named: PathBuf, folder: PathBuf, listen: String, plugin: PluginName },
    /// The author's config.
    Own(PathBuf),
}

/// A server on a thread of its own.
struct Server {
    /// Sent once the server serves.
    begun: oneshot::Receiver<Running>,
    running: Option<Running>,
    /// The server's result.
    ended: oneshot::Receiver<Result<(), Failure>>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Uses the author's `config`, or generates one in the project's folder `build`.
    pub(super) fn of(project: &Project, config: Option<&Path>) -> Result<Self, Failure> {
        let basis = match config {
            Some(path) => Basis::Own(path.to_owned()),
            None => made(project)?,
        };
        Ok(Self { basis, server: None, listen: Vec::new(), has_served: false, is_current: false })
    }

    /// The folders for its own output, which are no sources.
    pub(super) fn made(&self) -> Vec<PathBuf> {
        let Basis::Own(path) = &self.basis else { return Vec::new() };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::canonicalize(folder).map(|folder| folder.join("cache")).into_iter().collect()
    }

    /// Describes the component served now.
    pub(super) fn standing(&self) -> &'static str {
        if self.has_served { "the last good component is still served" } else { "nothing is served yet" }
    }

    /// Puts `component` into force; returns a command that calls it.
    pub(super) async fn put(&mut self, component: &Path) -> Result<String, Failure> {
        let (config, command, listen) = match &self.basis {
            Basis::Made { named, folder, listen, plugin } => {
                let (folder, listen, plugin) = (folder.clone(), listen.clone(), plugin.clone());
                let (component, named) = (component.to_owned(), named.clone());
                let wrote = spawn_blocking(move || write(&folder, &listen, &plugin, &component));
                let command = wrote.await.map_err(|error| Failure::failed(error.to_string()))??;
                (named.join(CONFIG_FILE), command, None)
            }
            Basis::Own(path) => {
                let Loaded { config, .. } = load_by(config::load, path)?;
                (path.clone(), command_of(&config, component)?, Some(config.server.listen))
            }
        };
        let addresses = self.reload().await?;
        self.has_served = true;
        let is_said = listen.is_none_or(|listen| self.says_address(listen, &config));
        Ok(call(&config, addresses.first().filter(|_| !is_said), &command))
    }

    /// Returns true if the author's config, with these `listen` addresses, suffices to find the server.
    fn says_address(&mut self, listen: Vec<SocketAddr>, config: &Path) -> bool {
        if self.listen.is_empty() {
            self.listen = listen.clone();
        }
        if self.listen != listen {
            output::note(&format!(
                "{}: `listen` has changed, and this server goes on to listen where it did: for another address, end `lictor plugin dev` \
                 and start it again",
                config.display()
            ));
            return false;
        }
        listen.first().is_some_and(|listen| listen.port() != 0)
    }

    /// Loads the config, or reloads it if the server is running. Returns the server's addresses.
    async fn reload(&mut self) -> Result<Vec<SocketAddr>, Failure> {
        if self.server.as_ref().is_some_and(|server| server.thread.is_finished()) {
            self.server = None;
        }
        match &mut self.server {
            Some(server) => {
                let running = server.running().await?;
                running.reload().await.map_err(Failure::failed)?;
                Ok(running.addresses.clone())
            }
            none => {
                self.listen.clear();
                let server = none.insert(Server::start(self.basis.path())?);
                let begun = server.running().await.map(|running| running.addresses.clone());
                if begun.is_err() {
                    self.server = None;
                }
                begun
            }
        }
    }

    /// Stops the server, and waits for its end.
    pub(super) async fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let stopped = async {
            if let Ok(running) = server.running().await {
                running.stop();
                let _ = (&mut server.ended).await;
            }
        };
        // A hanging server ends with this process.
        let _ = timeout(STOPPING, stopped).await;
    }
}

impl Basis {
    fn path(&self) -> PathBuf {
        match self {
            Self::Made { folder, .. } => folder.join(CONFIG_FILE),
            Self::Own(path) => path.clone(),
        }
    }
}

impl Server {
    fn start(config: PathBuf) -> Result<Self, Failure> {
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let serve = move || {
            let failed = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
            let supervisor = app::Supervisor::new().map_err(failed)?;
            let loaded = load_by(config::load, &config)?;
            // The receiver may be gone.
            let ready = |running| drop(begin.send(running));
            // In this cache `lictor plugin run` of the project's tests finds the compiled component.
            supervisor.serve_for(loaded, author::own_cache(), ready).map_err(failed)
        };
        let thread = thread::Builder::new().name("lictor-serve".to_owned());
        let thread = thread
            .spawn(move || drop(end.send(serve())))
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { begun, running: None, ended, thread })
    }

    /// Returns the server once it serves, or the reason why it does not. Cancel safe.
    async fn running(&mut self) -> Result<&Running, Failure> {
        if self.running.is_none() {
            let Ok(running) = (&mut self.begun).await else {
                let ended = (&mut self.ended).await;
                let why = ended.unwrap_or_else(|_| Err(Failure::failed("the server crashed")));
                return Err(why.err().unwrap_or_else(|| Failure::failed("the server stopped")));
            };
            self.running = Some(running);
        }
        self.running.as_ref().ok_or_else(|| Failure::failed("there is no server"))
    }
}

/// Generates a config, with a client and a free port.
fn made(project: &Project) -> Result<Basis, Failure> {
    const FOLDER: &str = "build/dev";
    let plugin = project.plugin_name()?;
    let (named, folder) = (project.as_named(FOLDER), project.folder.join(FOLDER));
    let certificates = folder.join("certs");
    let server = Role::Server { names: LOCAL_NAMES.map(str::to_owned).to_vec() };
    for (name, role) in [("server", server), ("dev", Role::Client { names: Vec::new() })] {
        make_certificate((name, &own_files(&certificates, name)?), &role, &mut Vec::new())?;
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let listen = free.map_err(|error| Failure::failed(format!("there is no free port: {error}")))?;
    Ok(Basis::Made { named, folder, listen: listen.to_string(), plugin })
}

/// Writes the component, after loading it, and the config that serves it; returns one of its commands.
fn write(folder: &Path, listen: &str, plugin: &PluginName, component: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", component.display()));
    let limits = Limits::default();
    let compiling =
        Compiling::by_itself(limits.component_bytes, limits.compile_memory_bytes, limits.compile_time);
    let (_, commands) =
        author::inspect(component, compiling).map_err(|error| failed(&format_args!("{error:#}")))?;
    let commands = commands.map_err(|error| failed(&format_args!("{error:#}")))?;
    author::name_faults(&commands).map_or(Ok(()), |fault| Err(failed(&fault)))?;
    let commands: Vec<_> = commands.into_iter().map(|command| command.name).collect();
    let bytes = files::read_named(component, MOST_BYTES).map_err(|fault| failed(&fault.what()))?;
    let file = format!("{plugin}.wasm");
    put_debug_file(component, &folder.join(&file))?;
    let config = config_text(listen, plugin, &file, &commands);
    for (name, bytes) in [(file.as_str(), &*bytes), (CONFIG_FILE, config.as_bytes())] {
        let path = folder.join(name);
        let written = files::put(&path, 0o600, bytes);
        written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(commands.into_iter().next().unwrap_or_else(|| plugin.to_string()))
}

/// Copies the debug file of `component`, if any, to its place beside `copy`.
fn put_debug_file(component: &Path, copy: &Path) -> Result<(), Failure> {
    let (from, to) = (files::debug_file(component), files::debug_file(copy));
    let read = Opened::file(&from).and_then(|opened| opened.bytes(MOST_BYTES));
    let put = match read {
        Ok(bytes) => files::put(&to, 0o600, &bytes),
        Err(fault) => {
            if fs::symlink_metadata(&from).is_ok() {
                let what = if fault.is_missing() {
                    "it is a dangling symbolic link".to_owned()
                } else {
                    fault.what()
                };
                let from = from.display();
                output::note(&format!(
                    "{from}: the debug file is not used: {what}. Remove it, or rebuild it"
                ));
            }
            // One of an earlier build describes other code.
            fs::remove_file(&to).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        }
    };
    put.map_err(|error| Failure::failed(format!("cannot write {}: {error}", to.display())))
}

/// A config that serves `plugin` to one client, with all grants that need no settings.
fn config_text(listen: &str, plugin: &PluginName, file: &str, commands: &[String]) -> String {
    let key = plugin.key();
    let list: Vec<_> = commands.iter().map(|command| quoted(command)).collect();
    // A plugin that describes no commands has one of its own name.
    let commands =
        if list.is_empty() { String::new() } else { format!("commands = [{}]\n", list.join(", ")) };
    format!(
        "# Made by `lictor plugin dev`, which makes it anew each time.\n\
         [server]\nlisten = [{}]\ncertificate = \"certs/server.pem\"\nprivate_key = \"certs/server.key\"\n\
         drain_timeout = \"1s\"\n\n\
         [state]\nengine = \"memory\"\n\n\
         [clients.dev]\ncertificates = [\"certs/dev.pem\"]\ncommands = [\"*\", \"@*\"]\n\n\
         [{key}]\ncomponent = {}\n{commands}\n\
         [{key}.config]\n\n\
         [{key}.grants]\nlogging = true\nkeyvalue = [\"default\"]\ncommands = [\"*\"]\nevents = [\"*\"]\n\
         files = []\nhttp = []\n",
        quoted(listen),
        quoted(file),
    )
}

/// A command of `component` in the author's config.
fn command_of(config: &Config, component: &Path) -> Result<String, Failure> {
    let is_it = |file: &Path| fs::canonicalize(file).is_ok_and(|file| file == component);
    let plugin = config.plugins.values().find(|plugin| is_it(&plugin.component));
    let command = plugin.and_then(|plugin| plugin.commands.first()).map(ToString::to_string);
    command.ok_or_else(|| {
        Failure::usage(format!(
            "no plugin of {} is this project's: write component = {} into its section, and the commands of it",
            config.path.display(),
            quoted(&component.to_string_lossy())
        ))
    })
}

/// The line that runs `command` on the server of this config, with `address` if the config does not have it.
fn call(config: &Path, address: Option<&SocketAddr>, command: &str) -> String {
    let server = address.map(|address| format!("--server {} ", reached_at(*address))).unwrap_or_default();
    let (lictor, config) = (paste::program(), paste::path(config));
    format!("{lictor} call {server}--config {config} {}", shell_word(command))
}
