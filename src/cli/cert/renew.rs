//! `lictor cert renew`: a new key and certificate beside the old, and what is to be done with them.
//!
//! Nothing is overwritten or deleted, and each step that was done is found done when the verb is run again: it goes on where it
//! broke off, and says what comes next.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::issue::{CertificateName, DEFAULT_DAYS, Files, Role};
use super::make;
use crate::cli::{CONFIG_FILE, Failure, load_named_config, output, want_own_config};
use crate::config::{self, Config, WrittenPin, pins};
use crate::files::{put_alike, read_named};
use crate::identity::{Thumbprint, pem};

/// Make a new key and certificate beside the old, and have the config pin both
///
/// NAME is that of `cert new`. Writes NAME.DATE.pem and NAME.DATE.key; where a client of the config pins the old
/// certificate, pins the new one beside it. Deletes nothing, and can be run again: it then says what comes next.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor cert renew laptop            beside server.toml: pins certs/laptop.DATE.pem as well
  lictor cert renew server            the server's own, by the paths in server.toml
  lictor cert renew ci --dir .        where no server.toml is: prints the new pin")]
pub(in crate::cli) struct Renew {
    /// What the certificate is called, as for `cert new`
    name: CertificateName,
    /// The folder of its files
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    dir: PathBuf,
    /// How many days the new one is valid from now
    #[arg(long, default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The config that pins it [default: server.toml, where one is here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A certificate under the name, by the path of its files.
struct Generation {
    files: Files,
    sha256: Thumbprint,
}

impl Renew {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = match &self.config {
            None if !Path::new(CONFIG_FILE).exists() => None,
            None => {
                want_own_config()?;
                Some(load_named_config(Path::new(CONFIG_FILE))?.config)
            }
            Some(path) => Some(load_named_config(path)?.config),
        };
        let mut generations = self.generations()?;
        match config {
            None => self.unpinned(&mut generations),
            Some(config) if generations.iter().any(|one| is_of_server(one, &config)) => {
                self.of_server(&mut generations, &config)
            }
            Some(config) => self.of_client(&mut generations, &config),
        }
    }

    /// The certificates of the name that are there, the oldest first; at least one.
    fn generations(&self) -> Result<Vec<Generation>, Failure> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let date = file.strip_suffix(".pem").and_then(|file| file.strip_prefix(&self.name.to_string()));
            if let Some(date) = date.filter(|date| date.is_empty() || is_date(date)) {
                found.push(date.to_owned());
            }
        }
        found.sort();
        if found.is_empty() {
            let (name, folder) = (&self.name, self.dir.display());
            return Err(Failure::usage(format!(
                "there is no {name}.pem in {folder}; name its folder by --dir, or make a first one: `lictor cert new {name}`"
            )));
        }
        found.iter().map(|date| Generation::read(self.files(date))).collect()
    }

    fn files(&self, date: &str) -> Files {
        let file = |ending| self.dir.join(format!("{}{date}.{ending}", self.name));
        Files { certificate: file("pem"), key: file("key") }
    }

    /// Makes the next generation after `generations`.
    fn make_next(&self, generations: &mut Vec<Generation>) -> Result<(), Failure> {
        let Some(last) = generations.last() else { return Ok(()) };
        let role = last.role()?;
        let files = self.files(&today());
        make(&self.name, &role, self.days, &files)?;
        output::line(&format!("made {} and {}", files.certificate.display(), files.key.display()))?;
        // Where root renews what another user serves with, the key is that user's like the old one.
        if let Ok(old) = last.files.key.metadata()
            && chown(&files.key, Some(old.uid()), Some(old.gid())).is_err()
        {
            let (new, old) = (files.key.display(), last.files.key.display());
            output::note(&format!("{new} is yours, and {old} is not: `chown --reference {old} {new}`"));
        }
        generations.push(Generation::read(files)?);
        Ok(())
    }

    /// Whether the newest was made today. Where that one is in use, nothing is left to do.
    fn is_of_today(&self, generations: &[Generation]) -> bool {
        let of_today = self.files(&today()).certificate;
        generations.last().is_some_and(|newest| newest.files.certificate == of_today)
    }

    /// Where no config is: what another machine's config is to pin.
    fn unpinned(&self, generations: &mut Vec<Generation>) -> Result<(), Failure> {
        if generations.last().is_some_and(Generation::is_for_servers_alone) {
            let words =
                "this is the certificate of a server: name its config by --config, or run this in its folder";
            return Err(Failure::usage(words.to_owned()));
        }
        if generations.len() == 1 {
            self.make_next(generations)?;
        }
        let [.., old, new] = generations.as_slice() else { return Ok(()) };
        output::line(&format!(
            "Next:\n\
             1. on the server, write beside \"{}\" in `thumbprints` of this client, and reload:\n   \"{}\"\n\
             2. use {} and its key here in place of {}\n\
             3. once that works, take the old thumbprint out, and delete {} and {}",
            old.sha256,
            new.sha256,
            new.files.certificate.display(),
            old.files.certificate.display(),
            old.files.certificate.display(),
            old.files.key.display()
        ))
    }

    /// The certificate of a client that the config pins: both are pinned when this is done.
    fn of_client(&self, generations: &mut Vec<Generation>, config: &Config) -> Result<(), Failure> {
        let (_, pinned) = written(config, generations)?;
        let Some((last, _)) = pinned.iter().max_by_key(|(place, _)| *place) else {
            let (path, newest) = (config.path.display(), &generations[generations.len() - 1]);
            return Err(Failure::usage(format!(
                "no client of {path} pins {}, nor does the server show it; `lictor cert thumbprint` shows what it is known by",
                newest.files.certificate.display()
            )));
        };
        let is_pinned_once = pinned.iter().all(|(place, _)| place == last);
        if *last + 1 == generations.len() && is_pinned_once {
            if self.is_of_today(generations) {
                return say_done(generations);
            }
            self.make_next(generations)?;
        }
        if *last + 1 < generations.len() {
            pin_last(config, generations)?;
        }
        let (_, pinned) = written(config, generations)?;
        let (new, old) = (&generations[generations.len() - 1], pinned.first());
        let Some((place, old)) = old.filter(|(place, _)| *place + 1 < generations.len()) else {
            return Ok(());
        };
        let old_files = &generations[*place].files;
        output::line(&format!(
            "Next:\n\
             1. put both pins in force: {}\n\
             2. move {} to where the client {} is, with {}, which it uses from then on\n\
             3. once `admitted` in the log shows only the thumbprint {:.8}… for it, take \"{}\" out of `clients.{}.{}`,\n   \
             reload, and delete {} and {}",
            reload(config),
            new.files.key.display(),
            old.client,
            new.files.certificate.display(),
            new.sha256.to_string(),
            old.value,
            old.client,
            old.key,
            old_files.certificate.display(),
            old_files.key.display()
        ))
    }

    /// The server's own certificate, of which only one is shown at a time: the config stays as it is.
    fn of_server(&self, generations: &mut Vec<Generation>, config: &Config) -> Result<(), Failure> {
        if generations.last().is_some_and(|newest| is_of_server(newest, config)) {
            if self.is_of_today(generations) {
                return say_done(generations);
            }
            self.make_next(generations)?;
        }
        let Some(new) = generations.last() else { return Ok(()) };
        let folder = config.path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
        let in_config = |path: &Path| {
            let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let inside = folder.as_ref().and_then(|folder| full.strip_prefix(folder).ok());
            inside.unwrap_or(&full).display().to_string()
        };
        let (path, old) = (config.path.display(), config.server.certificate.path.display());
        output::line(&format!(
            "Next: a server shows one certificate at a time, so first those who pinned the old one have to know the new.\n\
             1. give clients the new thumbprint beside the old: a second line for this server in their `known_servers`,\n   \
             ADDRESS sha256:{}\n   \
             (clients that trust an authority need nothing; those with `--pin` change it after step 2)\n\
             2. in {path} write\n   certificate = \"{}\"\n   private_key = \"{}\"\n   and reload: \
             {}\n\
             3. then clients take the old line out, and you delete {old} and its key",
            new.sha256,
            in_config(&new.files.certificate),
            in_config(&new.files.key),
            reload(config)
        ))
    }
}

/// How the config is put in force, in words.
fn reload(config: &Config) -> String {
    format!(
        "as the user that serves, `lictor check --config {}`; then `systemctl reload lictor`, `lictor reload` or SIGHUP",
        config.path.display()
    )
}

fn say_done(generations: &[Generation]) -> Result<(), Failure> {
    let newest = generations.last().map(|newest| newest.files.certificate.display().to_string());
    let words = "is in use and was made today: there is nothing left to do";
    output::line(&format!("{} {words}", newest.unwrap_or_default()))
}

/// As in the names of files that are made today.
fn today() -> String {
    jiff::Timestamp::now().strftime(".%Y-%m-%d").to_string()
}

impl Generation {
    fn read(files: Files) -> Result<Self, Failure> {
        let der = first(&files.certificate)?;
        Ok(Self { sha256: Thumbprint::sha256_of(&der), files })
    }

    /// Whether it says that no client shows it.
    fn is_for_servers_alone(&self) -> bool {
        let der = first(&self.files.certificate).unwrap_or_default();
        let usage = X509Certificate::from_der(&der).ok().and_then(|(_, certificate)| {
            let usage = certificate.extended_key_usage().ok().flatten()?;
            Some(usage.value.server_auth && !usage.value.client_auth && !usage.value.any)
        });
        usage.unwrap_or(false)
    }

    /// For whom it is, and under which names.
    fn role(&self) -> Result<Role, Failure> {
        let der = first(&self.files.certificate)?;
        let path = self.files.certificate.display();
        let (_, old) = X509Certificate::from_der(&der)
            .map_err(|_| Failure::usage(format!("{path} can't be read as X.509")))?;
        if old.issuer().as_raw() != old.subject().as_raw() {
            let words = format!("{path} is signed by an authority: have that make its successor");
            return Err(Failure::usage(words));
        }
        let is_of_server = |usage: &x509_parser::extensions::ExtendedKeyUsage<'_>| usage.server_auth;
        let usage = old.extended_key_usage().ok().flatten();
        let listed = old.subject_alternative_name().ok().flatten();
        let listed = listed.into_iter().flat_map(|listed| &listed.value.general_names);
        let names = listed.filter_map(name_of).collect();
        Ok(match usage.is_some_and(|usage| is_of_server(usage.value)) {
            true => Role::Server { names },
            false => Role::Client { names },
        })
    }
}

/// A name as `--san` takes it.
fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            Err(_) => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    }
}

/// The first certificate of a file.
fn first(path: &Path) -> Result<Vec<u8>, Failure> {
    /// The largest file that is read.
    const MAX_FILE_BYTES: u64 = 1 << 20;
    let told = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let bytes = read_named(path, MAX_FILE_BYTES).map_err(|fault| told(fault.what()))?;
    let chain = pem::certificates(&bytes).map_err(|fault| told(fault.in_full()))?;
    Ok(chain.first().map(|first| first.to_vec()).unwrap_or_default())
}

/// `.2026-11-30`.
fn is_date(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|date| date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok())
}

/// Whether the server shows this certificate, by the path in its config.
fn is_of_server(one: &Generation, config: &Config) -> bool {
    is_same(&one.files.certificate, &config.server.certificate.path)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The text of the config, and the pins in it of these generations, with the place of each.
fn written(
    config: &Config,
    generations: &[Generation],
) -> Result<(String, Vec<(usize, WrittenPin)>), Failure> {
    const MAX_CONFIG_BYTES: u64 = 16 << 20;
    let told = |why: &str| Failure::failed(format!("{}: {why}", config.path.display()));
    let bytes = read_named(&config.path, MAX_CONFIG_BYTES).map_err(|fault| told(&fault.what()))?;
    let text = String::from_utf8(bytes).map_err(|_| told("it is no text"))?;
    let folder = config.path.parent().unwrap_or(Path::new("."));
    let place = |pin: &WrittenPin| {
        generations.iter().position(|one| match pin.key {
            "certificates" => is_same(&one.files.certificate, &folder.join(&pin.value)),
            _ => pin.value.parse().is_ok_and(|pinned: Thumbprint| one.is(pinned)),
        })
    };
    let pinned = pins(&text).into_iter().filter_map(|pin| Some((place(&pin)?, pin))).collect();
    Ok((text, pinned))
}

impl Generation {
    fn is(&self, pinned: Thumbprint) -> bool {
        match pinned {
            Thumbprint::Sha256(_) => pinned == self.sha256,
            Thumbprint::Sha1(_) => {
                first(&self.files.certificate).is_ok_and(|der| pinned == Thumbprint::sha1_of(&der))
            }
        }
    }
}

/// Writes the newest generation beside the one that the config pins last.
fn pin_last(config: &Config, generations: &[Generation]) -> Result<(), Failure> {
    let (text, pinned) = written(config, generations)?;
    let (Some(new), Some((_, beside))) = (generations.last(), pinned.iter().max_by_key(|(place, _)| *place))
    else {
        return Ok(());
    };
    let file = new.files.certificate.file_name().map(|name| Path::new(&beside.value).with_file_name(name));
    let value = match (beside.key, file) {
        ("certificates", Some(file)) => file.display().to_string(),
        _ => new.sha256.to_string(),
    };
    let edited = beside.with_another(&text, &value);
    let by_hand = format!(
        "write \"{value}\" beside \"{}\" in `clients.{}.{}`",
        beside.value, beside.client, beside.key
    );
    let path = config.path.display();
    let told = |why: String| Failure::failed(format!("{path} can't be changed: {why}; {by_hand}"));
    if config::parse_of_anybody(&config.path, &edited).is_err() {
        return Err(told("it would not be a config any more".to_owned()));
    }
    put_alike(&config.path, edited.as_bytes()).map_err(|error| told(error.to_string()))?;
    output::line(&format!(
        "{path}: `clients.{}.{}` has \"{value}\" beside \"{}\"",
        beside.client, beside.key, beside.value
    ))
}
