//! `lictor client add`: a client's section in the config, with a certificate if it has none.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use crate::cli::cert::creation::write;
use crate::cli::cert::generation;
use crate::cli::cert::issue::{self, CertificateName, DEFAULT_DAYS, FOLDER, Files, Issued, Role};
use crate::cli::revision::{Original, RevisionOptions, SectionKind, client_name};
use crate::cli::running::{Edit, Running};
use crate::cli::{Failure, output};
use crate::config::{ClientName, Config, Section, quoted_list};
use crate::files::FileId;
use crate::identity::{Authority, Thumbprint};

/// Add a client to the config file
///
/// Shows the change and asks before it writes. Comments and order stay. A running server reloads the config.
/// Without --certificate, --thumbprint and --uri, pins certs/NAME.pem beside the config file, which is
/// created with its key if it does not exist.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor client add laptop --command echo --command 'kv-*'
  lictor client add ci --uri spiffe://example.org/ci --role deployer
  lictor client add phone --certificate phone.pem --command '@ping' --yes")]
pub(in crate::cli) struct Add {
    /// Name of the client
    #[arg(value_parser = client_name)]
    name: ClientName,
    /// Certificate file that identifies it, PEM; may be repeated
    #[arg(long = "certificate", value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// SHA-256 or SHA-1 of a certificate that identifies it; may be repeated
    #[arg(long = "thumbprint", value_name = "HEX")]
    thumbprints: Vec<String>,
    /// URI that identifies it, in a certificate that an authority has signed; may be repeated
    #[arg(long = "uri", value_name = "URI")]
    uris: Vec<String>,
    /// Role that it has; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Pattern of commands that it may run; may be repeated
    #[arg(long = "command", value_name = "PATTERN")]
    commands: Vec<String>,
    /// Included file to write to; created if it does not exist [default: the config file]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    revision: RevisionOptions,
}

impl Add {
    pub(super) fn run(self) -> Result<(), Failure> {
        let originals = self.revision.originals()?;
        let original = originals.for_new((SectionKind::Client, self.name.as_ref()), self.to.as_deref())?;
        let path = original.path().display();
        let own = self.own_certificate(&original)?;
        if let Some(config) = original.config() {
            self.refuse_others(config, own.as_ref())?;
        }
        let section = self.section(&original, own.as_ref())?;
        let edited = section.added_to(original.text());
        // A certificate that is yet to be made is known by its thumbprint.
        let checked = match &own {
            Some(Own { issued: Some(issued), .. }) => self.with_thumbprint(issued).added_to(original.text()),
            _ => edited.clone(),
        };
        let known = original.check(&checked)?;
        original.show(&edited)?;
        if let Some(own) = &own {
            output::line(&own.plan())?;
        }
        if self.roles.is_empty() && self.commands.is_empty() {
            output::note("without --role and --command this client may run nothing");
        }
        self.revision.confirm()?;
        let until_reload = format!("does not admit {} yet", self.name);
        let edit = Edit { leaving: None, until_reload: &until_reload };
        let running = Running::before(original.whole(), edit);
        if let Some(Own { issued: Some(issued), files }) = &own {
            write(issued, files)?;
            original.check_beyond(&known, &edited)?;
        }
        original.replace(&edited).inspect_err(|_| {
            if own.is_some() {
                output::note("the certificate and its key stay; run this again to add them");
            }
        })?;
        output::line(&format!("added the client {} to {path}", self.name))?;
        running.reload()?;
        own.map_or(Ok(()), |own| output::line(&own.next_step(&self.name)))
    }

    /// The certificate of a client for which no other is given.
    fn own_certificate(&self, original: &Original) -> Result<Option<Own>, Failure> {
        if !(self.certificates.is_empty() && self.thumbprints.is_empty() && self.uris.is_empty()) {
            return Ok(None);
        }
        let name: CertificateName = self.name.to_string().parse().map_err(Failure::usage)?;
        let files = Files::of(&original.main().with_file_name(FOLDER), &name);
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let issued = match (is_there(&files.certificate), is_there(&files.key)) {
            (true, _) => None,
            (false, true) if original.config().is_some_and(|config| is_of_server(&files.key, config)) => {
                return Err(Failure::usage(format!(
                    "nothing was written: {} is the server's private key; give the client another name, or name its \
                     certificate with --certificate",
                    files.key.display()
                )));
            }
            (false, true) => {
                return Err(Failure::usage(format!(
                    "{} exists without {}; put the certificate back, or move the key away to create both anew",
                    files.key.display(),
                    files.certificate.display()
                )));
            }
            (false, false) => {
                let role = Role::Client { names: Vec::new() };
                let issued = issue::issue(&name, &role, DEFAULT_DAYS);
                let told = |error| Failure::failed(format!("cannot make a certificate for {name}: {error}"));
                Some(issued.map_err(told)?)
            }
        };
        Ok(Some(Own { files, issued }))
    }

    /// Refuses a certificate that is not a client's: the server's own, or an authority's.
    fn refuse_others(&self, config: &Config, own: Option<&Own>) -> Result<(), Failure> {
        let name = &self.name;
        let server = config.server.certificate.chain.first();
        let of_server = |certificate: &CertificateDer<'_>| server.is_some_and(|server| server == certificate);
        let authorities = || config.identity.authorities.iter().flat_map(|file| &file.authorities);
        let refused = |what: String| Err(Failure::usage(format!("nothing was written: {what}")));
        for path in self.certificates.iter().chain(own.map(|own| &own.files.certificate)) {
            // One that cannot be read is told by the check.
            let Ok(certificate) = generation::first(path).map(CertificateDer::from) else { continue };
            let shown = path.display();
            if of_server(&certificate) {
                let advice = match own {
                    Some(_) => "give the client another name, or name its certificate with --certificate",
                    None => "name the client's own certificate, or leave --certificate out to make one",
                };
                return refused(format!(
                    "{shown} is the server's own certificate, and whoever has the server's key would be {name}; {advice}"
                ));
            }
            if Authority::new(certificate).is_ok_and(|own| authorities().any(|other| *other == own)) {
                return refused(format!(
                    "{shown} is the certificate of an authority in `identity.authorities`, and only that authority would \
                     be {name}; name the client's own certificate, or with --uri the URI in it"
                ));
            }
        }
        let is_servers = |text: &&String| {
            let pin = text.parse::<Thumbprint>().ok();
            server.is_some_and(|own| {
                pin.is_some_and(|pin| [Thumbprint::sha256_of(own), Thumbprint::sha1_of(own)].contains(&pin))
            })
        };
        match self.thumbprints.iter().find(is_servers) {
            None => Ok(()),
            Some(thumbprint) => refused(format!(
                "{thumbprint} is the thumbprint of the server's own certificate, and whoever has the server's key would be \
                 {name}; `lictor cert thumbprint FILE` shows that of the client's"
            )),
        }
    }

    fn section(&self, original: &Original, own: Option<&Own>) -> Result<Section, Failure> {
        let certificates = self.certificates.iter().chain(own.map(|own| &own.files.certificate));
        let certificates: Vec<_> =
            certificates.map(|path| original.written(path)).collect::<Result<_, _>>()?;
        Ok(self.with_identity(&[
            ("certificates", certificates),
            ("thumbprints", self.thumbprints.clone()),
            ("uris", self.uris.clone()),
        ]))
    }

    fn with_thumbprint(&self, issued: &Issued) -> Section {
        self.with_identity(&[("thumbprints", vec![issued.sha256().to_string()])])
    }

    fn with_identity(&self, identity: &[(&str, Vec<String>)]) -> Section {
        let permissions = [("roles", self.roles.clone()), ("commands", self.commands.clone())];
        let lists = identity.iter().chain(&permissions).filter(|(_, list)| !list.is_empty());
        Section {
            table: SectionKind::Client.table(),
            name: self.name.to_string(),
            rows: lists.map(|(key, list)| ((*key).to_owned(), quoted_list(list))).collect(),
            tables: Vec::new(),
        }
    }
}

/// Returns true if `key` is the server's private key.
fn is_of_server(key: &Path, config: &Config) -> bool {
    FileId::at(key).is_some_and(|id| FileId::at(&config.server.private_key) == Some(id))
}

/// The certificate in the client's own files.
struct Own {
    files: Files,
    /// The certificate, if the files are yet to be made.
    issued: Option<Issued>,
}

impl Own {
    fn plan(&self) -> String {
        let Files { certificate, key } = &self.files;
        let certificate = certificate.display();
        match self.issued {
            Some(_) => format!("makes {certificate} and {}, valid for {DEFAULT_DAYS} days", key.display()),
            None => format!("pins {certificate}, which exists"),
        }
    }

    fn next_step(&self, client: &ClientName) -> String {
        let Files { certificate, key } = &self.files;
        let certificate = certificate.display();
        match self.issued.is_some() || key.exists() {
            true => format!(
                "move {} to the client, with a copy of {certificate}: whoever has the key is {client}",
                key.display()
            ),
            false => format!("the key of {certificate} is not here: whoever has it is {client}"),
        }
    }
}
