//! `[plugins.NAME.config]`: the settings that a plugin reads, with the secrets that are kept elsewhere.
//!
//! Invariant: no fault holds a secret's text, only the place where it is kept.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use toml::Spanned;

use super::folder::{self, Folder, close_to_others};
use crate::config::fields::{Field, Findings, Named};
use crate::config::files::Secrets;
use crate::config::raw::{RawPlace, RawPlugin, RawSetting};
use crate::config::setting::{SecretPlace, Setting, credentials_folder};
use crate::config::values::{PathText, SettingName};
use crate::files::{Fault, Reason};
use crate::text::InvalidText;
use crate::units::size;

/// The largest secret, in bytes: larger than any key or token.
const MOST_SECRET_BYTES: u64 = 64 << 10;

/// A secret to be read.
struct Secret<'a> {
    /// The key, with its section.
    key: &'a str,
    place: &'a Spanned<RawPlace>,
    folder: &'a Folder,
}

/// Resolves the settings of the plugin whose section is `at`; `None` if it may not read any.
pub(in crate::config) fn settings(
    at: &str,
    field: &Field<Named<SettingName, RawSetting>>,
    (folder, secrets): (&Folder, Secrets),
    findings: &mut Findings,
) -> Option<BTreeMap<String, Setting>> {
    let at = format!("{at}.config");
    let mut settings = BTreeMap::new();
    for (key, raw) in &field.value()?.entries {
        let key = &key.get_ref().0;
        let setting = match raw.get_ref() {
            RawSetting::Text(text) => Setting::Text(text.clone()),
            RawSetting::Secret(place) => {
                let secret = Secret { key: &findings.name(&at, key), place, folder };
                let value = if secrets == Secrets::Unread { None } else { secret.read(secrets, findings) };
                Setting::Secret { place: kept(place, folder), value }
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
    fn read(&self, secrets: Secrets, findings: &mut Findings) -> Option<String> {
        let read = self.bytes(findings).and_then(|bytes| bytes.map(text).transpose());
        match read {
            Ok(None) => self.report_missing(secrets, findings),
            Err(invalid) => self.report_unusable(invalid, findings),
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
    fn bytes(&self, findings: &mut Findings) -> Result<Option<Vec<u8>>, InvalidText> {
        let path = match self.place.get_ref() {
            RawPlace::File(path) => path.clone(),
            RawPlace::Credential(name) => match credentials_folder() {
                Some(folder) => PathText(folder.join(&name.0)),
                None => return Ok(None),
            },
            RawPlace::Variable(name) => {
                let value = env::var_os(&name.0).map(OsStringExt::into_vec);
                if value.as_ref().is_some_and(|value| value.len() as u64 > MOST_SECRET_BYTES) {
                    let what = format!("this variable is larger than {}", size(MOST_SECRET_BYTES));
                    return Err(InvalidText::new(what));
                }
                return Ok(value);
            }
        };
        let path = Spanned::new(self.place.span(), path);
        let named = folder::Named { key: self.key, path: &path, remedy: "" };
        // The mode of a credential shows the access list by which systemd admits the service.
        let opened = match self.place.get_ref() {
            RawPlace::File(_) => self.folder.look_at_secret(named, findings),
            _ => self.folder.look_at(named, findings),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(fault) if fault.is_missing() => return Ok(None),
            Err(fault) => return Err(unusable(fault)),
        };
        opened.bytes(MOST_SECRET_BYTES).map(Some).map_err(unusable)
    }

    fn report_missing(&self, secrets: Secrets, findings: &mut Findings) {
        let what = match self.place.get_ref() {
            RawPlace::File(_) => "there is no such file",
            RawPlace::Credential(_) if credentials_folder().is_none() => {
                "this process has no credentials: $CREDENTIALS_DIRECTORY is not set"
            }
            RawPlace::Credential(_) => "this process has no such credential",
            RawPlace::Variable(_) => "this process has no such variable",
        };
        let message = format!("`{}`: the secret is missing", self.key);
        let fault = match secrets {
            Secrets::Needed => findings.error(message),
            Secrets::Checked | Secrets::Unread => findings.warning(message),
        };
        let is_of_process = !matches!(self.place.get_ref(), RawPlace::File(_));
        let note = (is_of_process && secrets == Secrets::Checked)
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
        match kept(self.place, self.folder) {
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

/// A fault of a secret's file. Others must not even read the file.
fn unusable(fault: Fault) -> InvalidText {
    let advice = match fault.reason {
        Reason::Writable { .. } => {
            Some(format!("find out who changed it, then {}", close_to_others(&fault.path)))
        }
        _ => fault.advice(),
    };
    InvalidText { what: fault.what(), advice }
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
    Ok(text)
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
        assert_eq!(text(vec![0xff]).unwrap_err().what, "it is not UTF-8, and plugins read text");
    }
}
