//! `lictor init`: everything that a first server needs, in a folder.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cert::creation::make;
use super::cert::issue::{DEFAULT_DAYS, Files, LOCAL_NAMES, Role, write_new};
use super::config_file::CONFIG_FILE;
use super::{Failure, output, paste};

/// The example plugin, compiled together with this program; empty if that was not possible.
const ECHO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.wasm"));

/// Create a config, certificates and an example plugin
///
/// Creates server.toml, a certificate for the server and one for a client named dev, and the plugin echo.
/// Never overwrites a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor init
  lictor init my-server
  lictor init --missing-only      in a checkout, which already has a config")]
pub(super) struct Init {
    /// Folder, created if missing
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Keep existing files, including the config, and create only missing ones
    #[arg(long)]
    missing_only: bool,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let all = self.make(ECHO)?;
        for made in &all {
            output::line(&format!("made {}", made.display()))?;
        }
        if all.is_empty() {
            output::line("nothing is missing")?;
        }
        output::line(&self.next_commands())
    }

    /// Creates the files; returns those created. The config comes last: once it exists, so do all others.
    fn make(&self, echo: &[u8]) -> Result<Vec<PathBuf>, Failure> {
        let config = self.folder.join(CONFIG_FILE);
        let component = self.folder.join("plugins/echo.wasm");
        self.refuse_early(&config, &component, echo)?;
        let mut made = Vec::new();
        let certificates = self.folder.join("certs");
        let server = Role::Server { names: LOCAL_NAMES.map(str::to_owned).to_vec() };
        for (name, role) in [("server", server), ("dev", Role::Client { names: Vec::new() })] {
            make_certificate(&certificates, name, &role, &mut made)?;
        }
        if !made.is_empty() {
            make_private(&certificates)?;
        }
        if !component.exists() {
            write(&component, echo, &mut made)?;
        }
        if !config.exists() {
            write(&config, include_bytes!("init.toml"), &mut made)?;
        }
        Ok(made)
    }

    /// Detects all foreseeable faults before anything is written.
    fn refuse_early(&self, config: &Path, component: &Path, echo: &[u8]) -> Result<(), Failure> {
        if echo.is_empty() && !component.exists() {
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
        Ok(())
    }

    fn next_commands(&self) -> String {
        let is_here = self.folder.as_os_str().is_empty() || self.folder == Path::new(".");
        let step = if is_here { String::new() } else { format!("cd {} && ", paste::path(&self.folder)) };
        format!(
            "\nNext:                     {step}lictor serve\n\
             and in another terminal:  {step}lictor call echo hello"
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
    use crate::cli::Exit;
    use crate::config;

    fn init(folder: &Path) -> Init {
        Init { folder: folder.to_owned(), missing_only: false }
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
        let made = init(&folder).make(b"component").unwrap();
        assert_eq!(made.len(), 6);
        let loaded = config::load(&folder.join(CONFIG_FILE)).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.clients.len(), 1);
        assert_eq!(fs::read(folder.join("plugins/echo.wasm")).unwrap(), b"component");
        let mode = |path: &str| mode(&folder.join(path));
        assert_eq!((mode("certs"), mode("certs/dev.key"), mode("certs/server.key")), (0o700, 0o600, 0o600));
    }

    #[test]
    fn it_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path()).make(b"component").unwrap();
        let before = files(folder.path());
        let failure = init(folder.path()).make(b"other").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().contains("--missing-only"));
        let missing_only = Init { missing_only: true, ..init(folder.path()) };
        assert!(missing_only.make(b"other").unwrap().is_empty());
        assert_eq!(files(folder.path()), before);

        fs::remove_file(folder.path().join("plugins/echo.wasm")).unwrap();
        fs::remove_file(folder.path().join("certs/dev.pem")).unwrap();
        let failure = missing_only.make(b"other").unwrap_err();
        assert!(failure.message().contains("dev.key exists without"), "{}", failure.message());
        fs::remove_file(folder.path().join("certs/dev.key")).unwrap();
        let certificates = folder.path().join("certs");
        fs::set_permissions(&certificates, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(missing_only.make(b"other").unwrap().len(), 3);
        assert_eq!(mode(&certificates), 0o700);
    }

    #[test]
    fn without_the_plugin_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for missing_only in [false, true] {
            let failure = Init { missing_only, ..init(folder.path()) }.make(b"").unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.message().contains("without its example plugin"));
            assert!(files(folder.path()).is_empty());
        }
        let component = folder.path().join("plugins/echo.wasm");
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::write(component, "own").unwrap();
        assert_eq!(Init { missing_only: true, ..init(folder.path()) }.make(b"").unwrap().len(), 5);
    }

    #[test]
    fn the_next_command_begins_in_the_folder() {
        assert!(init(Path::new(".")).next_commands().contains("  lictor serve\n"));
        assert!(init(Path::new("a/b")).next_commands().contains("cd a/b && lictor serve\n"));
    }
}
