//! Successive certificates of one name, as files in one folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issue::{self, Files, Issued};
use crate::cli::{Failure, output};
use crate::client::Credentials;
use crate::files::read_named;
use crate::identity::{Thumbprint, describe, pem};

/// A day, and the number of a certificate on that day.
type Made = (Date, u32);

/// The certificates of a name: `NAME.pem`, then `NAME.DATE.pem`, and `NAME.DATE-2.pem` if one day has
/// several.
pub(super) struct Line {
    folder: PathBuf,
    name: String,
    /// Files that belong to the line whatever their names.
    own: Option<Files>,
}

/// A certificate of a line.
pub(super) struct Generation {
    pub(super) files: Files,
    pub(super) sha256: Thumbprint,
    der: Vec<u8>,
    /// The suffix of the name: nothing, or a date.
    date: Option<Made>,
}

impl Line {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned(), own: None }
    }

    /// The line that contains this certificate.
    pub(super) fn of(own: Files) -> Self {
        let name = own.certificate.file_stem().unwrap_or_default().to_string_lossy();
        let folder = own.certificate.parent().unwrap_or(Path::new("")).to_owned();
        Self { folder, name: undated(&name).to_owned(), own: Some(own) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The existing certificates, oldest first.
    pub(super) fn generations(&self) -> Result<Vec<Generation>, Failure> {
        let mut found: Vec<_> =
            self.dates()?.into_iter().map(|(date, rest)| (date, self.files(&rest))).collect();
        found.sort_by_key(|(date, _)| *date);
        if let Some(own) = &self.own {
            match found.iter_mut().find(|(_, files)| is_same(&files.certificate, &own.certificate)) {
                Some((_, files)) => *files = own.clone(),
                None => found.insert(0, (None, own.clone())),
            }
        }
        found.into_iter().map(|(date, files)| Generation::read(files, date)).collect()
    }

    /// The text between the name and the extension of each certificate, with its parsed date.
    fn dates(&self) -> Result<Vec<(Option<Made>, String)>, Failure> {
        let folder = Some(&*self.folder).filter(|folder| !folder.as_os_str().is_empty());
        let entries = match fs::read_dir(folder.unwrap_or(Path::new("."))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|error| {
            Failure::usage(format!("the folder {} can't be read: {error}", self.folder.display()))
        })?;
        let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let rests =
            names.filter_map(|name| Some(name.strip_suffix(".pem")?.strip_prefix(&self.name)?.to_owned()));
        Ok(rests
            .filter_map(|rest| match &*rest {
                "" => Some((None, rest)),
                dated => Some((Some(date(dated)?), rest)),
            })
            .collect())
    }

    /// Free file names for a new certificate.
    pub(super) fn next(&self) -> Result<Files, Failure> {
        let day = today().strftime(".%Y-%m-%d");
        let dates =
            (1_u32..).map(|number| if number == 1 { day.to_string() } else { format!("{day}-{number}") });
        for files in dates.map(|date| self.files(&date)) {
            let is_there = |path: &Path| path.symlink_metadata().is_ok();
            match (is_there(&files.certificate), is_there(&files.key)) {
                (false, false) => return Ok(files),
                (false, true) => output::note(&format!(
                    "{} is left unchanged: a key without its certificate, which nothing uses",
                    files.key.display()
                )),
                _ => {}
            }
        }
        Err(Failure::failed("there are too many files of today"))
    }

    fn files(&self, rest: &str) -> Files {
        let file = |ending| self.folder.join(format!("{}{rest}.{ending}", self.name));
        Files { certificate: file("pem"), key: file("key") }
    }
}

fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Parses `.2026-11-30`, or `.2026-11-30-2`.
fn date(text: &str) -> Option<Made> {
    let text = text.strip_prefix('.')?;
    let date = text.get(..10)?.parse().ok()?;
    match text.get(10..)? {
        "" => Some((date, 1)),
        number => Some((date, number.strip_prefix('-')?.parse().ok().filter(|number| *number > 1)?)),
    }
}

/// Strips the date from a name.
fn undated(name: &str) -> &str {
    let dated = name.match_indices('.').find(|(place, _)| date(&name[*place..]).is_some());
    dated.map_or(name, |(place, _)| &name[..place])
}

impl Generation {
    pub(super) fn read(files: Files, date: Option<Made>) -> Result<Self, Failure> {
        let advice = match date {
            None => "",
            Some(_) => "; if nothing uses it, delete it, and run this again",
        };
        let told = |why| Failure::usage(format!("{}: {why}{advice}", files.certificate.display()));
        let der = first(&files.certificate).map_err(told)?;
        Ok(Self { sha256: Thumbprint::sha256_of(&der), der, files, date })
    }

    /// A certificate just made.
    pub(super) fn made(files: Files) -> Result<Self, Failure> {
        Self::read(files, Some((today(), 1)))
    }

    pub(super) fn is_of_today(&self) -> bool {
        self.date.is_some_and(|(date, _)| date == today())
    }

    pub(super) fn is(&self, pinned: Thumbprint) -> bool {
        match pinned {
            Thumbprint::Sha256(_) => pinned == self.sha256,
            Thumbprint::Sha1(_) => pinned == Thumbprint::sha1_of(&self.der),
        }
    }

    /// Returns true if `certificate` is its file.
    pub(super) fn is_at(&self, certificate: &Path) -> bool {
        is_same(&self.files.certificate, certificate)
    }

    /// Returns true if its usage excludes clients.
    pub(super) fn is_for_servers_alone(&self) -> bool {
        let usage = X509Certificate::from_der(&self.der).ok().and_then(|(_, certificate)| {
            let usage = certificate.extended_key_usage().ok().flatten()?;
            Some(usage.value.server_auth && !usage.value.client_auth && !usage.value.any)
        });
        usage.unwrap_or(false)
    }

    /// Returns its days of validity, if other than `asked`.
    pub(super) fn other_days(&self, asked: u32) -> Option<u64> {
        const DAY: u64 = 24 * 60 * 60;
        let validity = describe(&self.der).1?;
        let seconds = validity.not_after.duration_since(validity.not_before).ok()?.as_secs();
        let is_as_asked = seconds.abs_diff(u64::from(asked) * DAY) <= issue::BACKDATED.as_secs();
        (!is_as_asked).then_some(seconds / DAY)
    }

    /// Requires its key in the expected place, before anybody is told to use it.
    pub(super) fn want_key(&self) -> Result<(), Failure> {
        let Files { certificate, key } = &self.files;
        Credentials::load(certificate, Some(key)).map(drop).map_err(|error| {
            Failure::usage(format!(
                "{error}\nPut the key of this certificate there; or delete {}, and {} if it exists, and run this again to \
                 create another pair",
                certificate.display(),
                key.display()
            ))
        })
    }

    /// Makes its successor, with the same contents and a new key.
    pub(super) fn successor(&self, days: u32, files: &Files) -> Result<Issued, Failure> {
        let path = self.files.certificate.display();
        let (_, old) = X509Certificate::from_der(&self.der)
            .map_err(|_| Failure::usage(format!("{path} can't be read as X.509")))?;
        if old.issuer().as_raw() != old.subject().as_raw() {
            let words = format!("{path} is signed by an authority: request the next one from it");
            return Err(Failure::usage(words));
        }
        issue::issue_again(&old, days).map_err(|what| {
            let (key, certificate) = (files.key.display(), files.certificate.display());
            Failure::usage(format!(
                "{path}: {what}. Create the next one with OpenSSL, and run this again to continue with it:\n\
                 openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}\n\
                 openssl x509 -in {path} -signkey {key} -days {days} -out {certificate}"
            ))
        })
    }
}

/// The first certificate of a file.
pub(in crate::cli) fn first(path: &Path) -> Result<Vec<u8>, String> {
    /// Maximum size of the file.
    const MAX_FILE_BYTES: u64 = 1 << 20;
    let bytes = read_named(path, MAX_FILE_BYTES).map_err(|fault| fault.what())?;
    let chain = pem::certificates(&bytes).map_err(|fault| fault.in_full())?;
    Ok(chain.first().map(|first| first.to_vec()).unwrap_or_default())
}

pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_and_a_number_stand_behind_a_name() {
        for (name, bare) in [
            ("laptop", "laptop"),
            ("web-01.lan.2026-11-30", "web-01.lan"),
            ("web-01.lan.2026-11-30-12", "web-01.lan"),
            ("laptop.2026-11-30-1", "laptop.2026-11-30-1"),
            ("laptop.2026-11-31", "laptop.2026-11-31"),
            ("laptop.2026-11-30.old", "laptop.2026-11-30.old"),
            ("é.2026-11-30", "é"),
            (".é", ".é"),
        ] {
            assert_eq!(undated(name), bare);
        }
        let mut order = [".2026-11-30-10", ".2026-12-01", ".2026-11-30", ".2026-11-30-9"];
        order.sort_by_key(|text| date(text));
        assert_eq!(order, [".2026-11-30", ".2026-11-30-9", ".2026-11-30-10", ".2026-12-01"]);
    }
}
