//! `lictor cert`: makes certificates, and shows the thumbprints and names by which they are known.

pub(super) mod creation;
pub(super) mod generation;
pub(super) mod inspect;
pub(super) mod issue;
mod pinned;
mod renew;

use std::path::{Path, PathBuf};

use super::{Exit, Failure, output, paste};
use crate::config::key_text;

use self::creation::make;
use self::issue::{CertificateName, DEFAULT_DAYS, FOLDER, Files, Issued, LOCAL_NAMES, Role};

/// Create, renew and inspect certificates
#[derive(Debug, clap::Subcommand)]
pub(super) enum Cert {
    New(New),
    Renew(renew::Renew),
    Thumbprint(Thumbprint),
}

/// Create a self-signed certificate and its key
///
/// Writes NAME.pem and NAME.key. For a client, prints the config lines that admit it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor cert new laptop                          for a client: certs/laptop.pem, certs/laptop.key
  lictor cert new server --server --san cmd.example.com --san 10.0.0.5
  lictor cert new ci --dir /etc/lictor/certs --days 90")]
pub(super) struct New {
    /// Common name of the certificate, and base name of its files
    name: CertificateName,
    /// Folder for the files, created if missing
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    dir: PathBuf,
    /// Validity in days from now
    #[arg(long, default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// DNS name or IP address of the subject; may be repeated [with --server: localhost, 127.0.0.1, ::1]
    #[arg(long = "san", value_name = "NAME")]
    names: Vec<String>,
    /// Create a server certificate instead of a client certificate
    #[arg(long)]
    server: bool,
}

/// Show the thumbprints, subject and validity of certificates
///
/// Reads PEM files with any number of certificates, and DER files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor cert thumbprint certs/server.pem
  lictor cert thumbprint certs/*.pem")]
pub(super) struct Thumbprint {
    /// Certificate files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Cert {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(verb) => verb.run(),
            Self::Renew(verb) => verb.run(),
            Self::Thumbprint(verb) => verb.run(),
        }
    }
}

impl New {
    fn run(self) -> Result<(), Failure> {
        let role = match (self.server, self.names) {
            (false, names) => Role::Client { names },
            (true, names) if names.is_empty() => {
                Role::Server { names: LOCAL_NAMES.map(str::to_owned).to_vec() }
            }
            (true, names) => Role::Server { names },
        };
        let files = Files::of(&self.dir, &self.name);
        let issued = make(&self.name, &role, self.days, &files)?;
        output::line(&format!("made {} and {}", files.certificate.display(), files.key.display()))?;
        for certificate in inspect::certificates_in(&files.certificate).map_err(Failure::failed)? {
            output::line(&certificate.to_string())?;
        }
        if matches!(role, Role::Client { .. }) {
            output::line(&admission(&self.name, &issued, &files))?;
        }
        Ok(())
    }
}

/// The config lines that admit a client.
fn admission(name: &CertificateName, issued: &Issued, files: &Files) -> String {
    let key = key_text(&name.to_string());
    // The default of `client add`.
    let is_default = files.certificate == Files::of(Path::new(FOLDER), name).certificate;
    let option = match is_default {
        true => String::new(),
        false => format!(" --certificate {}", paste::path(&files.certificate)),
    };
    format!(
        "\nTo admit it: lictor client add {name}{option} --command echo\n\
         or add to server.toml:\n\n[clients.{key}]\nthumbprints = [\"{}\"]  \
         # or, with the file there: certificates = [\"{}\"]\n\
         commands = [\"echo\", \"@ping\", \"@whoami\", \"@commands\"]",
        issued.sha256(),
        files.certificate.display()
    )
}

impl Thumbprint {
    fn run(self) -> Result<(), Failure> {
        let mut has_failed = false;
        for path in &self.files {
            match inspect::certificates_in(path) {
                Ok(certificates) => {
                    let count = certificates.len();
                    for (position, certificate) in (1..).zip(certificates) {
                        let which =
                            if count > 1 { format!(" ({position} of {count})") } else { String::new() };
                        output::line(&format!("{}{which}\n{certificate}", path.display()))?;
                        if let Some(doubt) = certificate.doubt() {
                            output::note(&format!("{}{which}: {doubt}", path.display()));
                        }
                    }
                }
                Err(message) => {
                    output::note(&message);
                    has_failed = true;
                }
            }
        }
        if has_failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Verb, tests::parse};

    fn parse_new(line: &str) -> New {
        match parse(line).unwrap().verb {
            Verb::Cert(Cert::New(new)) => new,
            verb => panic!("{verb:?}"),
        }
    }

    #[test]
    fn the_options_of_new_have_their_defaults_and_bounds() {
        let new = parse_new("cert new dev");
        assert_eq!((new.dir, new.days, new.names, new.server), ("certs".into(), 825, vec![], false));
        let new = parse_new("cert new s --server --san a --san ::1 --days 1 --dir d");
        assert_eq!((new.names.len(), new.days, new.server), (2, 1, true));
        for line in [
            "cert new ../x",
            "cert new .x",
            "cert new x --days 0",
            "cert new x --days 99999",
            "cert thumbprint",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn new_makes_both_files_or_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path(), &"dev".parse().unwrap());
        let make = || make(&"dev".parse().unwrap(), &Role::Client { names: vec![] }, 1, &files);
        make().unwrap();
        let failure = make().unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().contains("nothing is overwritten"));
        std::fs::remove_file(&files.key).unwrap();
        assert!(make().is_err());
        assert!(!files.key.exists());
    }

    #[test]
    fn a_bad_name_for_the_certificate_is_a_usage_error() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path(), &"s".parse().unwrap());
        let role = Role::Server { names: vec!["é".to_owned()] };
        assert_eq!(make(&"s".parse().unwrap(), &role, 1, &files).unwrap_err().exit(), Exit::Usage);
        assert!(!files.key.exists());
    }

    #[test]
    fn the_lines_to_add_are_toml() {
        let name: CertificateName = "a.b".parse().unwrap();
        let issued = issue::issue(&name, &Role::Client { names: vec![] }, 1).unwrap();
        let text = admission(&name, &issued, &Files::of(Path::new("certs"), &name));
        let toml: toml::Table = text[text.find("[clients").unwrap()..].parse().unwrap();
        let client = &toml["clients"]["a.b"];
        assert_eq!(client["thumbprints"][0].as_str().unwrap(), issued.sha256().to_string());
    }
}
