//! `[plugins.NAME.config]`: the settings that a plugin reads, with the secrets that are kept elsewhere.
//!
//! Invariant: no fault holds a secret's text, only the place where it is kept.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use toml::Spanned;

use super::folder::{self, Folder, close_to_others};
use super::grants::withheld;
use crate::config::fields::{Field, Findings, Named};
use crate::config::files::Secrets;
use crate::config::raw::RawPlugin;
use crate::config::secret::{RawPlace, RawSetting};
use crate::config::setting::{SecretPlace, Setting, credentials_folder};
use crate::config::values::{PathText, SettingName};
use crate::files::{Fault, Reason, Reserved};
use crate::text::InvalidText;
use crate::units::size;

/// The largest secret, in bytes: larger than any key or token.
const MOST_SECRET_BYTES: u64 = 64 << 10;

/// A secret to be read.
struct Secret<'a> {
    /// The key, with its section.
    key: &'a str,
    place: &'a Spanned<RawPlace>,
    around: Surroundings<'a>,
}

/// Context for reading secrets.
#[derive(Clone, Copy)]
pub(in crate::config) struct Surroundings<'a> {
    pub(super) folder: &'a Folder,
    /// The files and folders that the server reserves for itself, without those of secrets.
    pub(super) kept: &'a Reserved,
    pub(super) secrets: Secrets,
}

/// The reason for not using a secret.
enum Unusable {
    /// Its file is reserved for the server.
    Withheld(&'static str),
    Invalid(InvalidText),
}

/// Resolves the settings of the plugin whose section is `at`; `None` if it may not read any.
pub(in crate::config) fn settings(
    at: &str,
    field: &Field<Named<SettingName, RawSetting>>,
    around: Surroundings<'_>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, Setting>> {
    let at = format!("{at}.config");
    let mut settings = BTreeMap::new();
    for (key, raw) in &field.value()?.entries {
        let key = &key.get_ref().0;
        let setting = match raw.get_ref() {
            RawSetting::Text(text) => Setting::Text(text.clone()),
            RawSetting::Secret(place) => {
                let secret = Secret { key: &findings.name(&at, key), place, around };
                let is_read = around.secrets != Secrets::Unread;
                let value = is_read.then(|| secret.read(findings)).flatten();
                Setting::Secret { place: kept(place, around.folder), value }
            }
        };
        settings.insert(key.clone(), setting);
    }
    Some(settings)
}

/// Returns the files of the secrets of `plugins`, existing or not.
pub(super) fn secret_files<'a>(
    plugins: impl Iterator<Item = &'a RawPlugin>,
    folder: &Folder,
) -> Vec<PathBuf> {
    let settings = plugins.filter_map(|plugin| plugin.config.value()).flat_map(|named| &named.entries);
    let places = settings.filter_map(|(_, raw)| match raw.get_ref() {
        RawSetting::Text(_) => None,
        RawSetting::Secret(place) => kept(place, folder).file(),
    });
    places.collect()
}

fn kept(place: &Spanned<RawPlace>, folder: &Folder) -> SecretPlace {
    match place.get_ref() {
        RawPlace::File(path) => SecretPlace::File(folder.path(&Spanned::new(place.span(), path.clone()))),
        RawPlace::Credential(name) => SecretPlace::Credential(name.0.clone()),
        RawPlace::Variable(name) => SecretPlace::Variable(name.0.clone()),
    }
}

impl Secret<'_> {
    /// Reads the secret; reports it if it is missing or unusable.
    fn read(&self, findings: &mut Findings) -> Option<String> {
        let read = self.bytes(findings);
        let read = read.and_then(|bytes| bytes.map(text).transpose().map_err(Unusable::Invalid));
        match read {
            Ok(None) => self.report_missing(findings),
            Err(Unusable::Withheld(what)) => {
                let help = "keep the secret in a file of its own";
                withheld(self.key, self.place.span(), (what, help), findings);
            }
            Err(Unusable::Invalid(invalid)) => self.report_unusable(invalid, findings),
            Ok(Some(text)) => {
                if text.is_empty() {
                    let fault = findings.warning(format!("`{}`: the secret is empty", self.key));
                    fault.at(self.place.span(), "nothing is kept here").help(self.remedy()).done();
                }
                return Some(text);
            }
        }
        None
    }

    /// Returns the bytes of the secret; `None` if it is missing.
    fn bytes(&self, findings: &mut Findings) -> Result<Option<Vec<u8>>, Unusable> {
        let Surroundings { folder, kept: reserved, .. } = self.around;
        let path = match self.place.get_ref() {
            RawPlace::File(path) => path.clone(),
            RawPlace::Credential(name) => match credentials_folder() {
                Some(folder) => PathText(folder.join(&name.0)),
                None => return Ok(None),
            },
            RawPlace::Variable(name) => return Ok(env::var_os(&name.0).map(OsStringExt::into_vec)),
        };
        let path = Spanned::new(self.place.span(), path);
        let named = folder::Named { key: self.key, path: &path, remedy: "" };
        let unusable = |fault: Fault| match fault.reason {
            Reason::TooLarge { .. } => Unusable::Invalid(too_large()),
            _ => Unusable::Invalid(of_file(&fault)),
        };
        // The mode of a credential shows the access list by which systemd admits the service.
        let opened = match self.place.get_ref() {
            RawPlace::File(_) => folder.look_at_secret(named, findings),
            _ => folder.look_at(named, findings),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(fault) if fault.is_missing() => {
                let what = reserved.withholds_missing(&folder.path(&path));
                return what.map_or(Ok(None), |what| Err(Unusable::Withheld(what)));
            }
            Err(fault) => return Err(unusable(fault)),
        };
        if let Some(what) = reserved.withholds(&opened) {
            return Err(Unusable::Withheld(what));
        }
        // With the newline, which does not count.
        opened.bytes(MOST_SECRET_BYTES + 2).map(Some).map_err(unusable)
    }

    fn report_missing(&self, findings: &mut Findings) {
        let what = match self.place.get_ref() {
            RawPlace::File(_) => "there is no such file",
            RawPlace::Credential(_) if credentials_folder().is_some() => {
                "this process has no such credential"
            }
            RawPlace::Credential(_) if env::var_os("CREDENTIALS_DIRECTORY").is_some() => {
                "this process has no credentials: $CREDENTIALS_DIRECTORY is not an absolute path"
            }
            RawPlace::Credential(_) => "this process has no credentials: $CREDENTIALS_DIRECTORY is not set",
            RawPlace::Variable(_) => "this process has no such variable",
        };
        let message = format!("`{}`: the secret is missing", self.key);
        let fault = match self.around.secrets {
            Secrets::Needed => findings.error(message),
            Secrets::Checked | Secrets::Unread => findings.warning(message),
        };
        let is_of_process = !matches!(self.place.get_ref(), RawPlace::File(_));
        let note = (is_of_process && self.around.secrets == Secrets::Checked)
            .then(|| "only this process is known to lack it: the service may have it".to_owned());
        fault.at(self.place.span(), what).helps(note).help(self.remedy()).done();
    }

    fn report_unusable(&self, invalid: InvalidText, findings: &mut Findings) {
        let most = size(MOST_SECRET_BYTES);
        let advice = invalid.advice.unwrap_or_else(|| {
            format!("keep it in a plain file of at most {most}, which the server's user can read")
        });
        let fault = findings.error(format!("`{}`: the secret can't be used", self.key));
        fault.at(self.place.span(), invalid.what).help(advice).done();
    }

    /// Advice on where to put the secret.
    fn remedy(&self) -> String {
        match kept(self.place, self.around.folder) {
            SecretPlace::File(path) => {
                format!("write the secret into {}, readable for the server's user alone", path.display())
            }
            SecretPlace::Credential(name) => {
                format!("pass it to `lictor serve`: `LoadCredential={name}:/PATH` in the service's unit")
            }
            SecretPlace::Variable(name) => format!("set {name} in the environment of `lictor serve`"),
        }
    }
}

/// The text of a secret, without one newline at its end.
fn text(bytes: Vec<u8>) -> Result<String, InvalidText> {
    let what = "it is not UTF-8, and plugins read text";
    let mut text = String::from_utf8(bytes)
        .map_err(|_| InvalidText::new(what).advise("encode it, for example with `base64`"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.len() as u64 > MOST_SECRET_BYTES { Err(too_large()) } else { Ok(text) }
}

fn too_large() -> InvalidText {
    InvalidText::new(format!("it is larger than {}", size(MOST_SECRET_BYTES)))
}

/// A fault of a secret's file. Others must not even read the file.
fn of_file(fault: &Fault) -> InvalidText {
    let advice = match fault.reason {
        Reason::Writable { .. } => {
            Some(format!("find out who changed it, then {}", close_to_others(&fault.path)))
        }
        _ => fault.advice(),
    };
    InvalidText { what: fault.what(), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_dropped_and_nothing_else() {
        for (kept, read) in [
            ("token", "token"),
            ("token\n", "token"),
            ("token\r\n", "token"),
            ("token\n\n", "token\n"),
            ("token\r", "token\r"),
            (" token \n", " token "),
            ("\ntoken", "\ntoken"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(text(kept.into()).as_deref(), Ok(read), "{kept:?}");
        }
        let most = "x".repeat(64 << 10);
        for end in ["", "\n", "\r\n"] {
            assert_eq!(text((most.clone() + end).into()).as_ref(), Ok(&most), "{end:?}");
        }
        for end in ["x", "\n\n", "x\n", "\r"] {
            assert_eq!(
                text((most.clone() + end).into()).unwrap_err().what,
                "it is larger than 64KiB",
                "{end:?}"
            );
        }
        assert_eq!(text(vec![0xff]).unwrap_err().what, "it is not UTF-8, and plugins read text");
    }
}
