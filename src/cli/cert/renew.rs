//! `lictor cert renew`: a new key and certificate beside the old, and instructions for using them.
//!
//! Nothing is overwritten or deleted. When the subcommand is run again, it detects the completed steps,
//! continues with the first open one, and states the next.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::creation::write;
use super::generation::{Generation, Line};
use super::issue::{CertificateName, DEFAULT_DAYS, FOLDER, Files};
use super::pinned::Pinned;
use crate::cli::config_file::{CONFIG_FILE, is_missing, load_named_config, want_own_config};
use crate::cli::{Failure, output, paste};
use crate::config::Config;

/// Create a new key and certificate beside the old ones, and pin both in the config
///
/// NAME is the name given to `cert new`, or `server`. Writes NAME.DATE.pem and NAME.DATE.key. If a client in
/// the config pins the old certificate, also pins the new one. Deletes nothing. Run it again to see the next
/// step.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor cert renew laptop            beside server.toml: pins certs/laptop.DATE.pem as well
  lictor cert renew server            the server's certificate, at the paths in server.toml
  lictor cert renew laptop --again    a second one on the same day, for instance after its key leaked
  lictor cert renew ci --dir .        without a server.toml: prints the new pin")]
pub(in crate::cli) struct Renew {
    /// Name as given to `cert new`, or `server` for the certificate in the config
    name: CertificateName,
    /// Folder of its files [default: their folder in the config, or certs]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Validity of the new certificate in days from now [default: 825]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// Create another one even if one was made today or is not in use yet
    #[arg(long)]
    again: bool,
    /// Config that pins it [default: server.toml in the current folder, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Renew {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = match &self.config {
            None if is_missing(Path::new(CONFIG_FILE)) => None,
            None => {
                want_own_config()?;
                Some(load_named_config(Path::new(CONFIG_FILE))?.config)
            }
            Some(path) => Some(load_named_config(path)?.config),
        };
        let line = self.line(config.as_ref())?;
        let generations = line.generations()?;
        if generations.is_empty() {
            return Err(self.missing(config.as_ref()));
        }
        let mut renewal = Renewal { verb: &self, line, generations };
        match &config {
            None => renewal.unpinned(),
            Some(config) if renewal.of_server(config).is_some() => renewal.server(config),
            Some(config) => renewal.client(config),
        }
    }

    /// The certificate's line: by its name in the folder, or by the paths in the config.
    fn line(&self, config: Option<&Config>) -> Result<Line, Failure> {
        let name = self.name.to_string();
        let named = Line::new(self.dir.as_deref().unwrap_or(Path::new(FOLDER)), &name);
        let Some(config) = config.filter(|_| self.dir.is_none()) else { return Ok(named) };
        let own = || {
            Line::of(Files {
                certificate: config.server.certificate.path.clone(),
                key: config.server.private_key.clone(),
            })
        };
        if name == SERVER {
            return Ok(own());
        }
        let found = named.generations()?;
        if found.iter().any(|one| one.is_at(&config.server.certificate.path)) {
            return Ok(own());
        }
        if !found.is_empty() {
            return Ok(named);
        }
        let clients = config.clients.values().map(|client| &client.certificates);
        let paths = clients.chain(config.disabled.clients.values()).flatten();
        let lines = paths.map(|certificate| {
            Line::of(Files { certificate: certificate.clone(), key: certificate.with_extension("key") })
        });
        Ok(lines.chain([own()]).find(|line| line.name() == name).unwrap_or(named))
    }

    fn missing(&self, config: Option<&Config>) -> Failure {
        let (name, folder) = (self.name.to_string(), self.dir.as_deref().unwrap_or(Path::new(FOLDER)));
        let advice = match config {
            Some(config) if name == SERVER => {
                format!("leave --dir out: {} says where the server's certificate is", config.path.display())
            }
            None if name == SERVER => "name the server's config with --config".to_owned(),
            _ => format!("name its folder with --dir, or create the first one: `lictor cert new {name}`"),
        };
        Failure::usage(format!("there is no {name}.pem in {}; {advice}", folder.display()))
    }
}

/// The name of the server's own certificate, whatever its file's name.
const SERVER: &str = "server";

/// A renewal in progress.
struct Renewal<'v> {
    verb: &'v Renew,
    line: Line,
    /// Not empty; the newest is last.
    generations: Vec<Generation>,
}

impl Renewal<'_> {
    fn newest(&self) -> &Generation {
        &self.generations[self.generations.len() - 1]
    }

    /// Begins a renewal: makes the next generation, unless the newest is of today and no other was requested.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.newest().is_of_today() { self.resume() } else { self.make_next() }
    }

    /// Continues a renewal with its newest generation, unless another was requested.
    fn resume(&mut self) -> Result<(), Failure> {
        if self.verb.again {
            return self.make_next();
        }
        let newest = self.newest();
        let path = newest.files.certificate.display();
        if let Some((asked, days)) = self.verb.days.and_then(|asked| Some((asked, newest.other_days(asked)?)))
        {
            output::note(&format!(
                "{path} already exists, and is valid for {days} days, not {asked}: --again creates another"
            ));
        }
        Ok(())
    }

    fn make_next(&mut self) -> Result<(), Failure> {
        let newest = self.newest();
        let files = self.line.next()?;
        let days = self.verb.days.unwrap_or(DEFAULT_DAYS);
        write(&newest.successor(days, &files)?, &files)?;
        output::line(&format!("made {} and {}", files.certificate.display(), files.key.display()))?;
        // If root renews another user's certificate, the new key must belong to the old one's owner.
        if let Ok(old) = newest.files.key.metadata()
            && chown(&files.key, Some(old.uid()), Some(old.gid())).is_err()
        {
            let (new, old) = (files.key.display(), newest.files.key.display());
            output::note(&format!("you own {new}, but not {old}: `chown --reference {old} {new}`"));
        }
        self.generations.push(Generation::made(files)?);
        Ok(())
    }

    fn say_done(&self) -> Result<(), Failure> {
        output::line(&format!(
            "{} is in use and was made today: nothing left to do (--again creates another)",
            self.newest().files.certificate.display()
        ))
    }

    /// The files of all generations but the newest, as far as they exist here.
    fn old_files(&self) -> String {
        let old = self.generations.iter().rev().skip(1).rev();
        let files = old.flat_map(|old| [&old.files.certificate, &old.files.key]);
        let names = files.filter(|path| !is_missing(path)).map(|path| path.display().to_string());
        names.collect::<Vec<_>>().join(" and ")
    }

    /// Without a config: states the pin for another machine's config.
    fn unpinned(&mut self) -> Result<(), Failure> {
        if self.newest().is_for_servers_alone() {
            let words =
                "this is the certificate of a server: name its config by --config, or run this in its folder";
            return Err(Failure::usage(words.to_owned()));
        }
        if self.generations.len() > 1 { self.resume() } else { self.begin() }?;
        let Some((new, old @ [_, ..])) = self.generations.split_last() else { return self.say_done() };
        new.want_key()?;
        let pins: Vec<_> = old.iter().map(|old| format!("\"{}\"", old.sha256)).collect();
        let certificates: Vec<_> =
            old.iter().map(|old| old.files.certificate.display().to_string()).collect();
        output::line(&format!(
            "Next:\n\
             1. on the server, write beside {} in `thumbprints` of this client, and reload:\n   \"{}\"\n\
             2. use {} and its key here in place of {}\n\
             3. once that works, take what was there before out of `thumbprints`, and delete {}",
            pins.join(", "),
            new.sha256,
            new.files.certificate.display(),
            certificates.join(", "),
            self.old_files()
        ))
    }

    /// Renews a client's certificate that the config pins: afterwards both are pinned.
    fn client(&mut self, config: &Config) -> Result<(), Failure> {
        let pinned = Pinned::read(config, &self.generations)?;
        let count = self.generations.len();
        let is_done = pinned.has_newest(count) && pinned.old(count).is_empty();
        if is_done { self.begin() } else { self.resume() }?;
        let count = self.generations.len();
        if pinned.has_newest(count) && pinned.old(count).is_empty() {
            return self.say_done();
        }
        let new = self.newest();
        let is_pinned = pinned.has_newest(count);
        // Once the new certificate is pinned, its key may have been moved to the client.
        let has_key = !is_missing(&new.files.key);
        if has_key || !is_pinned {
            new.want_key()?;
        }
        if !is_pinned {
            pinned.add(new)?;
        }
        let old = pinned.old(count);
        let Some(first) = old.first().map(|found| &found.pin) else { return Ok(()) };
        let takes: Vec<_> =
            old.iter().map(|found| format!("\"{}\" from `{}`", found.pin.value, found.pin.list())).collect();
        let (certificate, client) = (new.files.certificate.display(), &first.client);
        let hand_over = match has_key {
            true => format!(
                "move {} to the client {client}, with a copy of {certificate}; it uses these from then on",
                new.files.key.display()
            ),
            false => format!(
                "make the client {client} use {certificate} with its key, which is no longer in {}",
                new.files.key.display()
            ),
        };
        output::line(&format!(
            "Next:\n\
             1. {}\n\
             2. {hand_over}\n\
             3. once `admitted` in the log shows only the thumbprint {:.8}… for it, delete {},\n   \
             reload, and delete {}",
            in_force(config, client),
            new.sha256.to_string(),
            takes.join(" and "),
            self.old_files()
        ))
    }

    /// The index of the certificate that the server presents, by the path in its config.
    fn of_server(&self, config: &Config) -> Option<usize> {
        self.generations.iter().position(|one| one.is_at(&config.server.certificate.path))
    }

    /// Renews the server's own certificate, of which only one is presented at a time: the config stays
    /// unchanged.
    fn server(&mut self, config: &Config) -> Result<(), Failure> {
        let in_use = self.of_server(config);
        let is_under_way = in_use.is_some_and(|index| index + 1 < self.generations.len());
        if is_under_way { self.resume() } else { self.begin() }?;
        if in_use.is_some_and(|index| index + 1 == self.generations.len()) {
            return self.say_done();
        }
        let new = self.newest();
        new.want_key()?;
        let folder = config.path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
        let in_config = |path: &Path| {
            let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let inside = folder.as_ref().and_then(|folder| full.strip_prefix(folder).ok());
            inside.unwrap_or(&full).display().to_string()
        };
        let (path, old) = (config.path.display(), config.server.certificate.path.display());
        output::line(&format!(
            "Next: a server presents one certificate at a time, so clients that pinned the old one need the new pin first.\n\
             1. give clients the new thumbprint in addition to the old: a second line for this server in their `known_servers`,\n   \
             ADDRESS sha256:{}\n   \
             (clients that trust an authority need nothing; those with `--pin` change it after step 2)\n\
             2. in {path} write\n   certificate = \"{}\"\n   private_key = \"{}\"\n   and reload: \
             {}\n\
             3. then clients remove the old line, and you delete {old} and its key",
            new.sha256,
            in_config(&new.files.certificate),
            in_config(&new.files.key),
            reload(config)
        ))
    }
}

/// Instructions for putting a client's pins into force.
fn in_force(config: &Config, client: &str) -> String {
    let off = config.disabled.clients.keys().find(|name| name.as_ref() == client);
    match off {
        None => format!("put both pins in force: {}", reload(config)),
        Some(name) => format!(
            "the client {client} is disabled, and neither pin is in force: to admit it again, remove\n   \
             `enabled = false` from `{}`, then {}",
            name.key(),
            reload(config)
        ),
    }
}

/// Instructions for putting the config into force.
fn reload(config: &Config) -> String {
    format!(
        "as the server's user, run `lictor check --config {}`; then `systemctl reload lictor`, `lictor reload` or SIGHUP",
        paste::path(&config.path)
    )
}
