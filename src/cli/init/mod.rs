//! `lictor init`: everything that a first server needs, in a folder.

mod answers;

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use self::answers::{Answers, address};
use super::cert::creation::make;
use super::cert::issue::{DEFAULT_DAYS, FOLDER, Files, LOCAL_NAMES, Role, write_new};
use super::config_file::CONFIG_FILE;
use super::revision::{client_name, full, read_text};
use super::{Failure, output, paste};
use crate::client::Credentials;
use crate::config::{ClientName, included_files, pins, server_files};

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
        let Made { files, without_key } = self.make(ECHO, &self.answers()?)?;
        let shown = |path: &Path| path.strip_prefix(".").unwrap_or(path).display().to_string();
        for made in &files {
            output::line(&format!("made {}", shown(made)))?;
        }
        if !without_key.is_empty() {
            let certificates: Vec<_> = without_key.iter().map(|path| shown(path)).collect();
            output::note(&format!(
                "the key is not beside {}: if it is lost, and not with the client, move the certificate away and run \
                 this again to make both anew",
                certificates.join(", ")
            ));
        }
        if files.is_empty() {
            output::line(match without_key.is_empty() {
                true => "nothing is missing",
                false => "nothing else is missing",
            })?;
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
    fn make(&self, echo: &[u8], answers: &Answers) -> Result<Made, Failure> {
        let (config, component) = (self.config(), self.component());
        let mut made = Made::default();
        let certificates = self.folder.join(FOLDER);
        let own = |name: &str| own_files(&certificates, name);
        let (server, clients) = match config.exists() {
            true => self.named()?,
            false => (None, answers.names()),
        };
        let server = server.map_or_else(|| own(SERVER), Ok)?;
        let role = Role::Server { names: LOCAL_NAMES.map(str::to_owned).to_vec() };
        make_certificate((SERVER, &server), &role, &mut made.files)?;
        for name in clients {
            let files = own(&name)?;
            if config.exists() && files.certificate.exists() {
                if !Credentials::has_key(&files.certificate) {
                    made.without_key.push(files.certificate);
                }
                continue;
            }
            make_certificate((&name, &files), &Role::Client { names: Vec::new() }, &mut made.files)?;
        }
        if made.files.iter().any(|path| path.starts_with(&certificates)) {
            make_private(&certificates)?;
        }
        if !component.exists() {
            write(&component, echo, &mut made.files)?;
        }
        if !config.exists() {
            write(&config, answers.config().as_bytes(), &mut made.files)?;
        }
        Ok(made)
    }

    fn config(&self) -> PathBuf {
        self.folder.join(CONFIG_FILE)
    }

    fn component(&self) -> PathBuf {
        self.folder.join("plugins/echo.wasm")
    }

    /// Returns the server's files that the existing config names, and its clients, also those in files that
    /// it includes, whose certificates it names where `init` makes them.
    fn named(&self) -> Result<(Option<Files>, Vec<String>), Failure> {
        let config = self.config();
        let text = read_text(&config)?;
        let server = server_files(&text).map(|(certificate, key)| Files {
            certificate: self.folder.join(certificate),
            key: self.folder.join(key),
        });
        let included = included_files(&config, &text);
        let included = included.into_iter().map(|path| read_text(&path).map(|text| (path, text)));
        let mut clients = Vec::new();
        for file in std::iter::once(Ok((config.clone(), text))).chain(included) {
            let (path, text) = file?;
            let folder = path.parent().unwrap_or(Path::new(""));
            for pin in pins(&text).into_iter().filter(|pin| pin.key == "certificates") {
                let own = self.folder.join(FOLDER).join(format!("{}.pem", pin.client));
                if is_same_path(&folder.join(&pin.value), &own) && !clients.contains(&pin.client) {
                    clients.push(pin.client);
                }
            }
        }
        Ok((server, clients))
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

/// The files that were created, and those left as they were.
#[derive(Default)]
struct Made {
    files: Vec<PathBuf>,
    /// The certificates of clients whose keys are not beside them.
    without_key: Vec<PathBuf>,
}

/// The name of the server's certificate.
const SERVER: &str = "server";

/// The files in `folder` of the certificate `name`.
pub(super) fn own_files(folder: &Path, name: &str) -> Result<Files, Failure> {
    Ok(Files::of(folder, &name.parse().map_err(Failure::usage)?))
}

/// Returns true if both lead to one file, which need not exist.
fn is_same_path(one: &Path, other: &Path) -> bool {
    matches!((full(one), full(other)), (Ok(one), Ok(other)) if one == other)
}

pub(super) fn make_certificate(
    (name, files): (&str, &Files),
    role: &Role,
    made: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let name = name.parse().map_err(Failure::usage)?;
    let Files { certificate, key } = files;
    let (there, missing) = match (certificate.exists(), key.exists()) {
        (true, true) => return Ok(()),
        (true, false) => (certificate, key),
        (false, true) => (key, certificate),
        (false, false) => {
            make(&name, role, DEFAULT_DAYS, files)?;
            made.extend([certificate.clone(), key.clone()]);
            return Ok(());
        }
    };
    Err(Failure::usage(format!(
        "{} exists without {}. They belong together. Put the other back, or move this one away to create both anew",
        there.display(),
        missing.display()
    )))
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
mod tests;
