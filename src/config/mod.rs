//! The config file and those it includes: TOML in, one checked [`Config`] out, or every fault.
//!
//! `address`, `moment`, `names`, `resources` and `values` define what a value may be; `limits`
//! the bounds with their reasons; `fields`, `table` and `raw` the files as written, with the position of each
//! value in `source`. `resolve` adds the included files and turns all that into the [`Config`] of `model`.
//! `fault` shows its faults, and `suggestions` and `syntax` give advice where a word is unknown or the text
//! is not TOML. `script` is a file of the same form: calls for `lictor plugin run`.
//!
//! Invariant: nothing here opens a socket, starts a task or loads a plugin. It reads the config file and the
//! certificates it names, and checks that the other files exist. It knows no tokio and no wasmtime, so that
//! `lictor check`, a reload and a test all run the very same code.

mod address;
mod diff;
mod edit;
mod entries;
mod fault;
mod fields;
mod files;
mod form;
mod kept;
mod limits;
mod model;
mod moment;
mod names;
mod narrow;
mod raw;
mod redact;
mod resolve;
mod resources;
mod schema;
mod script;
mod secret;
mod sections;
mod setting;
mod source;
mod suggestions;
mod syntax;
mod table;
mod telemetry;
mod texts;
mod values;
mod written;

use std::path::{Path, PathBuf};

pub use crate::units::{ByteSize, Ratio, SizeOrPart, TimeSpan};
pub use address::Listen;
pub use diff::{Applies, Change, Kind, diff};
pub use edit::{
    Section, Table, WrittenPin, difference, pins, section_line, section_names, server_files, without_section,
};
pub use entries::{Entry, Owner};
pub use fault::{Fault, Faults, Severity, Style};
pub use files::MOST_CONFIG_BYTES;
pub use kept::set_aside;
pub use limits::{Bound, Limits, Unit, bounds};
pub use model::{
    Admin, AdminAddress, AuthorityFile, Client, Config, Disabled, Grants, HttpUrl, Identity, Log, OwnLimits,
    Pin, Plugin, Protocol, RevocationFile, Role, Server, ServerCertificate, State, Telemetry,
};
pub use names::{BUILT_INS, ClientName, CommandName, PluginName, RoleName, StoreName};
pub use raw::known_keys;
pub use redact::urls as without_secrets;
pub use resources::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
pub use schema::schema;
pub use script::{Expected, Script, ScriptCall, ScriptCommand, ScriptGrants, script};
pub use setting::{SecretPlace, Setting};
pub use source::{Place, Placed};
pub use suggestions::instead_of_command;
pub use telemetry::Collector;
pub use values::{Instances, LogFormat, LogLevel, StateEngine, TlsVersion};
pub use written::{key_text, quoted, quoted_list};

use self::files::{Reading, Secrets};
use self::raw::{RawConfig, SECTIONS};
use self::redact::Grammar;
use crate::files::{Authors, Matters, Sightings};

/// Reads and checks the config file at `path`, to serve it.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading { secrets: Secrets::Needed, ..Reading::default() })
}

/// Like [`load`], for a config that may be served elsewhere: a missing secret is a warning.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_to_check(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading::default())
}

/// Like [`load_to_check`], for a config that is only compared: anybody may own the file, and components need
/// not exist.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_to_compare(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading { authors: Authors::Anybody, ..Reading::default() })
}

/// Like [`load_to_compare`], to find out where a server is: plugins' secrets are not read.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_of_anybody(path: &Path) -> Result<Loaded, Faults> {
    load_in(path, Reading { authors: Authors::Anybody, secrets: Secrets::Unread, ..Reading::default() })
}

/// Re-reads and checks the file of the `running` config. Files that a reload does not change, such as the
/// state file, stay withheld from plugins in addition to those the new text names.
///
/// # Errors
/// Every fault in it, in line order.
pub fn load_again(running: &Config) -> Result<Loaded, Faults> {
    let reading = Reading { running: Some(running), secrets: Secrets::Needed, ..Reading::default() };
    load_in(&running.path, reading)
}

fn load_in(path: &Path, reading: Reading<'_>) -> Result<Loaded, Faults> {
    let mut sightings = Sightings::default();
    sightings.note(path, Matters::Content);
    let read = files::config_text(path, reading.authors).and_then(|(opened, text)| {
        let (raw, mut findings) = raw::read::<RawConfig>(path, &text, Grammar::Toml)?;
        resolve::look_at_file(&opened, &raw.plugins, None, &mut findings);
        let config = resolve::resolve(path, raw, reading, (&mut sightings, &mut findings));
        let digest = findings.digest();
        Ok((findings.verdict(config)?, digest))
    });
    match read {
        Ok(((config, warnings), digest)) => {
            Ok(Loaded { config, warnings, digest, sightings: sightings.of_content() })
        }
        Err(faults) => Err(faults.found_in(sightings)),
    }
}

/// Checks `text` like [`load_to_check`]. Messages call it `path`, and relative paths in it start at the
/// folder of `path`.
///
/// # Errors
/// Every fault in it, in line order.
pub fn parse(path: &Path, text: &str) -> Result<Loaded, Faults> {
    parse_in(path, text, Reading::default())
}

fn parse_in(path: &Path, text: &str, reading: Reading<'_>) -> Result<Loaded, Faults> {
    let (raw, mut findings) = raw::read(path, text, Grammar::Toml)?;
    let mut sightings = Sightings::default();
    let config = resolve::resolve(path, raw, reading, (&mut sightings, &mut findings));
    let digest = findings.digest();
    let (config, warnings) = findings.verdict(config)?;
    Ok(Loaded { config, warnings, digest, sightings: sightings.of_content() })
}

/// Returns the files that the config at `main`, which has this `text`, includes and that can be read. It may
/// have faults.
#[must_use]
pub fn included_files(main: &Path, text: &str) -> Vec<PathBuf> {
    let Ok((mut raw, mut findings)) = raw::read(main, text, Grammar::Toml) else { return Vec::new() };
    let reading = Reading { authors: Authors::Anybody, ..Reading::default() };
    resolve::included_files(main, &mut raw, reading, &mut findings)
}

/// Returns the path by which the config at `main`, which has this `text`, would include `file`, which does
/// not exist yet.
///
/// # Errors
/// None of the patterns in `include` fits; returns them.
pub fn included_path(main: &Path, text: &str, file: &Path) -> Result<PathBuf, Vec<String>> {
    let (raw, _) = raw::read::<RawConfig>(main, text, Grammar::Toml).map_err(|_| Vec::new())?;
    resolve::included_path(main, &raw, file)
}

/// Checks the config at `path` with `text` in place of the file `edited`, which is the config's own or one
/// that it includes, and which need not exist yet.
///
/// # Errors
/// Every fault in it, in line order.
pub fn parse_edited(path: &Path, edited: &Path, text: &str) -> Result<Loaded, Faults> {
    let reading = Reading { edited: Some((edited, text)), ..Reading::default() };
    if edited == path {
        return parse_in(path, text, reading);
    }
    // The author of a file that is not edited is no matter of the edit.
    let (_, main) = files::config_text(path, Authors::Anybody)?;
    parse_in(path, &main, reading)
}

/// Returns the text of a config file, at `path`, with everything hidden that may be secret.
#[must_use]
pub fn redacted(path: &Path, text: &str) -> String {
    let grammar = if parse_syntax(path, text).is_ok() { Grammar::Toml } else { Grammar::Broken };
    redact::document(text, grammar, SECTIONS)
}

/// Checks that `text` is TOML, and nothing else.
///
/// # Errors
/// Its first syntax error.
pub fn parse_syntax(path: &Path, text: &str) -> Result<(), Faults> {
    raw::read::<RawConfig>(path, text, Grammar::Toml).map(drop)
}

/// A config that may be served.
#[derive(Debug)]
pub struct Loaded {
    /// The config to serve.
    pub config: Config,
    /// Warnings for the operator, in line order; none prevents serving.
    pub warnings: Vec<Fault>,
    /// SHA-256 of the config file and those it includes, one after the other, in hexadecimal.
    pub digest: String,
    /// The config file and those it names, as they were before they were read. A change to any counts.
    pub sightings: Sightings,
}
