//! `lictor init`: everything that a first server needs, in a folder.

mod answers;

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use self::answers::{Answers, address};
use super::cert::creation::make;
use super::cert::issue::{DEFAULT_DAYS, Files, LOCAL_NAMES, Role, write_new};
use super::config_file::CONFIG_FILE;
use super::revision::client_name;
use super::{Failure, output, paste};
use crate::config::{ClientName, MOST_CONFIG_BYTES, pins};
use crate::files::read_named;

/// The example plugin, compiled together with this program; empty if that was not possible.
const ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.wasm"));

/// Create a config, certificates and an example plugin
///
/// Creates server.toml, the plugin echo, and certificates for the server and two clients: dev, which may run
/// echo, and operator, as which `lictor status` and `lictor reload` call. On a terminal, asks for the address
/// and the clients' names, unless one of the options for these or --yes is given. Never overwrites a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor init
  lictor init my-server
  lictor init --yes my-server     ask nothing
  lictor init --listen 0.0.0.0:4888 --client laptop --client desk
  lictor init --missing-only      in a checkout, which already has a config")]
pub(super) struct Init {
    /// Folder, created if missing
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Keep existing files, including the config, and create only missing ones
    #[arg(long)]
    missing_only: bool,
    /// Address and port to listen at [default: 127.0.0.1:4888]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Option<SocketAddr>,
    /// A client that may run the plugin's command; may be repeated [default: dev]
    #[arg(long = "client", value_name = "NAME", value_parser = client_name)]
    clients: Vec<ClientName>,
    /// Ask nothing: take the default of each option that is not given
    #[arg(long)]
    yes: bool,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.refuse_early(ECHO)?;
        let all = self.make(ECHO, &self.answers()?)?;
        for made in &all {
            let path = made.strip_prefix(".").unwrap_or(made);
            output::line(&format!("made {}", path.display()))?;
        }
        if all.is_empty() {
            output::line("nothing is missing")?;
        }
        output::line(&self.next_commands())
    }

    /// Settles what a new config is to say. One that exists stays as it is.
    fn answers(&self) -> Result<Answers, Failure> {
        let is_settled = self.yes || self.listen.is_some() || !self.clients.is_empty();
        match is_settled || self.config().exists() || !output::is_interactive() {
            true => Answers::of(self.listen, &self.clients),
            false => Answers::asked(&mut io::stdin().lock()),
        }
    }

    /// Creates the files; returns those created. The config comes last: once it exists, so do all others.
    fn make(&self, echo: &[u8], answers: &Answers) -> Result<Vec<PathBuf>, Failure> {
        let (config, component) = (self.config(), self.component());
        let mut made = Vec::new();
        let certificates = self.folder.join("certs");
        let server = Role::Server { names: LOCAL_NAMES.map(str::to_owned).to_vec() };
        make_certificate(&certificates, "server", &server, &mut made)?;
        let clients = if config.exists() { self.missing_clients()? } else { answers.names() };
        for name in clients {
            make_certificate(&certificates, &name, &Role::Client { names: Vec::new() }, &mut made)?;
        }
        if !made.is_empty() {
            make_private(&certificates)?;
        }
        if !component.exists() {
            write(&component, echo, &mut made)?;
        }
        if !config.exists() {
            write(&config, answers.config().as_bytes(), &mut made)?;
        }
        Ok(made)
    }

    fn config(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    fn component(&self) -> PathBuf {
        self.folder.join("plugins/echo.wasm")
    }

    /// Returns the clients of the existing config whose certificates are missing where `init` makes them.
    fn missing_clients(&self) -> Result<Vec<String>, Failure> {
        let config = self.config();
        let text = read_named(&config, MOST_CONFIG_BYTES)
            .map_err(|fault| Failure::usage(format!("cannot read {}: {}", config.display(), fault.what())))?;
        let missing = pins(&String::from_utf8_lossy(&text)).into_iter().filter(|pin| {
            let is_own = pin.value == format!("certs/{}.pem", pin.client);
            is_own && !self.folder.join(&pin.value).exists()
        });
        Ok(missing.map(|pin| pin.client).collect())
    }

    /// Detects all foreseeable faults before anything is asked or written.
    fn refuse_early(&self, echo: &[u8]) -> Result<(), Failure> {
        let config = self.config();
        if echo.is_empty() && !self.component().exists() {
            return Err(Failure::usage(
                "this lictor was built without its example plugin, so it cannot make one.\n\
                 Nothing was written. Build it again after: rustup target add wasm32-unknown-unknown",
            ));
        }
        if config.exists() && !self.missing_only {
            return Err(Failure::usage(format!(
                "{} exists; nothing was written. \
                 To make what is missing beside it: lictor init --missing-only",
                config.display()
            )));
        }
        if config.exists() && (self.listen.is_some() || !self.clients.is_empty()) {
            return Err(Failure::usage(format!(
                "{} exists and stays as it is; nothing was written. Leave out --listen and --client, or change it there",
                config.display()
            )));
        }
        Ok(())
    }

    fn next_commands(&self) -> String {
        let is_here = self.folder.as_os_str().is_empty() || self.folder == Path::new(".");
        let step = if is_here { String::new() } else { format!("cd {} && ", paste::path(&self.folder)) };
        format!(
            "\nNext:                     {step}lictor serve\n\
             and in another terminal:  {step}lictor call echo hello\n\
             and as the operator:      {step}lictor status"
        )
    }
}

pub(super) fn make_certificate(
    folder: &Path,
    name: &str,
    role: &Role,
    made: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let name = name.parse().map_err(Failure::usage)?;
    let files = Files::of(folder, &name);
    match (files.certificate.exists(), files.key.exists()) {
        (true, true) => return Ok(()),
        (false, false) => {}
        (has_certificate, _) => {
            let (there, missing) = if has_certificate {
                (&files.certificate, &files.key)
            } else {
                (&files.key, &files.certificate)
            };
            return Err(Failure::usage(format!(
                "{} exists without {}. They belong together. \
                 Put the other back, or move this one away to create both anew",
                there.display(),
                missing.display()
            )));
        }
    }
    make(&name, role, DEFAULT_DAYS, &files)?;
    made.extend([files.certificate, files.key]);
    Ok(())
}

/// Closes a folder of keys to other users, even if it came with a checkout.
fn make_private(folder: &Path) -> Result<(), Failure> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
        .map_err(|error| Failure::failed(format!("cannot make {} private: {error}", folder.display())))
}

fn write(path: &Path, bytes: &[u8], made: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let create = |path: &Path| -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        write_new(path, bytes)
    };
    create(path).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    made.push(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::may;
    use crate::cli::Exit;
    use crate::config;

    fn init(folder: &Path) -> Init {
        Init { folder: folder.to_owned(), missing_only: false, listen: None, clients: Vec::new(), yes: false }
    }

    /// Makes the files without asking, for tests run on a terminal.
    fn make(init: &Init, echo: &[u8]) -> Result<Vec<PathBuf>, Failure> {
        init.refuse_early(echo)?;
        init.make(echo, &Answers::of(init.listen, &init.clients)?)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// All files below a folder, with their contents.
    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(files(&path));
            } else {
                all.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn what_it_makes_is_a_config_without_a_fault() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("new");
        let made = make(&init(&folder), b"component").unwrap();
        assert_eq!(made.len(), 8);
        let loaded = config::load(&folder.join(CONFIG_FILE)).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.clients.len(), 2);
        assert_eq!(fs::read(folder.join("plugins/echo.wasm")).unwrap(), b"component");
        let mode = |path: &str| mode(&folder.join(path));
        assert_eq!((mode("certs"), mode("certs/dev.key"), mode("certs/server.key")), (0o700, 0o600, 0o600));
    }

    #[test]
    fn it_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        make(&init(folder.path()), b"component").unwrap();
        let before = files(folder.path());
        let failure = make(&init(folder.path()), b"other").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().contains("--missing-only"));
        let missing_only = Init { missing_only: true, ..init(folder.path()) };
        assert!(make(&missing_only, b"other").unwrap().is_empty());
        assert_eq!(files(folder.path()), before);

        fs::remove_file(folder.path().join("plugins/echo.wasm")).unwrap();
        fs::remove_file(folder.path().join("certs/dev.pem")).unwrap();
        let failure = make(&missing_only, b"other").unwrap_err();
        assert!(failure.message().contains("dev.key exists without"), "{}", failure.message());
        fs::remove_file(folder.path().join("certs/dev.key")).unwrap();
        let certificates = folder.path().join("certs");
        fs::set_permissions(&certificates, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(make(&missing_only, b"other").unwrap().len(), 3);
        assert_eq!(mode(&certificates), 0o700);
    }

    #[test]
    fn beside_a_config_only_the_clients_that_it_names_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let config = "[clients.\"a.b\"]\ncertificates = [\"certs/a.b.pem\"]\n\
                      [clients.away]\ncertificates = [\"certs/away.pem\", \"certs/other.pem\"]\n\
                      [clients.pinned]\nthumbprints = [\"ab\"]\n";
        fs::write(at(CONFIG_FILE), config).unwrap();
        fs::create_dir(at("certs")).unwrap();
        fs::write(at("certs/away.pem"), "its key is elsewhere").unwrap();
        let missing_only = Init { missing_only: true, ..init(folder.path()) };
        let made = make(&missing_only, b"component").unwrap();
        let names =
            ["certs/server.pem", "certs/server.key", "certs/a.b.pem", "certs/a.b.key", "plugins/echo.wasm"];
        assert_eq!(made, names.map(at));
        let failure = make(&Init { clients: vec!["c".parse().unwrap()], ..missing_only }, b"").unwrap_err();
        assert!(failure.message().contains("exists and stays as it is"), "{}", failure.message());
        assert_eq!(fs::read_to_string(at(CONFIG_FILE)).unwrap(), config);
    }

    #[test]
    fn options_change_the_config() {
        let folder = tempfile::tempdir().unwrap();
        let options = Init {
            listen: Some("[::1]:5000".parse().unwrap()),
            clients: ["a.b", "c"].map(|name| name.parse().unwrap()).to_vec(),
            ..init(folder.path())
        };
        make(&options, b"component").unwrap();
        let loaded = config::load(&folder.path().join(CONFIG_FILE)).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.server.listen, [options.listen.unwrap()]);
        let allowed = |name: &str, command: &str| may(&loaded.config.clients[name], &[command.to_owned()]);
        assert!(allowed("a.b", "echo") && allowed("c", "echo") && !allowed("c", "@reload"));
        assert!(allowed("operator", "@reload") && !allowed("operator", "echo"));
    }

    #[test]
    fn without_the_plugin_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for missing_only in [false, true] {
            let failure = make(&Init { missing_only, ..init(folder.path()) }, b"").unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.message().contains("without its example plugin"));
            assert!(files(folder.path()).is_empty());
        }
        let component = folder.path().join("plugins/echo.wasm");
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::write(component, "own").unwrap();
        assert_eq!(make(&Init { missing_only: true, ..init(folder.path()) }, b"").unwrap().len(), 7);
    }

    #[test]
    fn the_next_command_begins_in_the_folder() {
        assert!(init(Path::new(".")).next_commands().contains("  lictor serve\n"));
        assert!(init(Path::new("a/b")).next_commands().contains("cd a/b && lictor serve\n"));
    }
}
