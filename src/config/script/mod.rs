//! A script: calls to run in sequence without a server, and the expected result of each.
//!
//! Written like a config, and its faults are shown like a config's. Knows no wire protocol: the caller
//! decides whether a call is a valid request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::Grants;
use super::fault::{Fault, Faults};
use super::fields::{Field, Findings, List, Named, Shape};
use super::names::{ClientName, PluginName};
use super::raw::{self, RawGrants, SECTIONS};
use super::redact::Grammar;
use super::resolve::granted_as_in_config;
use super::secret::RawSetting;
use super::setting::Setting;
use super::suggestions::{closest, list, no_such_choice};
use super::table::table;
use super::values::{PathText, PluginSetting, SettingName};
use crate::files::{Opened, read_named};
use crate::text::InvalidText;
use crate::units::TimeSpan;

/// The largest script, and the largest file that it names, in bytes: as large as the largest body.
const MOST_BYTES: u64 = 1 << 30;

table! {
    /// The whole file.
    RawScript {
        call: List<RawCall>,
        plugins: Named<PluginName, RawGranted>,
    }
}
table! {
    /// `[plugins.NAME]`.
    RawGranted {
        config: Named<SettingName, RawSetting>,
        grants: RawGrants,
    }
}
table! {
    /// `[[call]]`.
    RawCall {
        command: ScriptCommand,
        headers: List<PluginSetting>,
        body: PluginSetting,
        body_file: PathText,
        client: ClientName,
        timeout: TimeSpan,
        reply: PluginSetting,
        reply_file: PathText,
        code: PluginSetting,
        has: PluginSetting,
    }
}

/// A script.
#[derive(Debug)]
pub struct Script<T> {
    /// Its calls, each with the request made of it.
    pub calls: Vec<(ScriptCall, T)>,
    /// The grants of each plugin, by its name.
    pub granted: BTreeMap<PluginName, ScriptGrants>,
    /// Faults that do not prevent running it.
    pub warnings: Vec<Fault>,
}

/// Everything that a script grants a plugin.
#[derive(Clone, Debug, Default)]
pub struct ScriptGrants {
    /// Its settings, if it has any.
    pub config: Option<BTreeMap<String, Setting>>,
    /// The resources it may use.
    pub grants: Grants,
}

/// A call in a script.
#[derive(Clone, Debug)]
pub struct ScriptCall {
    /// The command to run.
    pub command: ScriptCommand,
    /// Its headers, each as `Name: value`.
    pub headers: Vec<String>,
    /// Its body; empty if it has none.
    pub body: Vec<u8>,
    /// The client that makes the call, if given.
    pub client: Option<String>,
    /// The call's time limit, if given.
    pub timeout: Option<Duration>,
    /// The expected result.
    pub expected: Expected,
}

/// A command with its arguments, as written.
#[derive(Clone, Debug)]
pub enum ScriptCommand {
    /// A line, as sent over the wire.
    Line(String),
    /// The command and its arguments, one by one.
    Words(Vec<String>),
}

/// The expected result of a call: a reply, unless there is a code.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The whole reply.
    pub reply: Option<Vec<u8>>,
    /// The error code of the expected failure.
    pub code: Option<String>,
    /// A text that the reply, or the failure's message, contains.
    pub has: Option<String>,
}

/// Reads the script at `path`, whose calls are served by `plugins`. `request` turns each call into a request,
/// or explains why it is not one. `codes` are the error codes.
///
/// # Errors
/// Every fault in it, in line order.
pub fn script<T>(
    path: &Path,
    plugins: &[PluginName],
    codes: &[&str],
    request: impl Fn(&ScriptCall) -> Result<T, InvalidText>,
) -> Result<Script<T>, Faults> {
    let text = text(path)?;
    let (raw, mut findings) = raw::read::<RawScript>(path, &text, Grammar::Script)?;
    let mut calls = Vec::new();
    for raw in raw.call.value().into_iter().flat_map(|list| &list.items) {
        let Some(call) = resolve(path, raw, codes, &mut findings) else { continue };
        let made = request(&call).map_err(|invalid| {
            let message = "the call is no request that a server would take";
            let fault = findings.error(message).at(place_of(raw.get_ref(), raw.span()), invalid.what);
            fault.helps(invalid.advice).done();
        });
        calls.extend(made.ok().map(|made| (call, made)));
    }
    if raw.call.has_none() {
        let advice = "write one: [[call]] and below it command = \"echo hello\"";
        findings.error("the script has no call").help(advice).done();
    }
    let granted = granted(&raw, plugins, &mut findings);
    let ((calls, granted), warnings) = findings.verdict(Some((calls, granted)))?;
    Ok(Script { calls, granted, warnings })
}

fn granted(
    raw: &RawScript,
    plugins: &[PluginName],
    findings: &mut Findings,
) -> BTreeMap<PluginName, ScriptGrants> {
    let sections = raw.plugins.value().into_iter().flat_map(|named| &named.entries);
    let granted = sections.map(|(name, raw)| {
        let (at, name, raw) = (name.span(), name.get_ref(), raw.get_ref());
        if !plugins.contains(name) {
            let known: Vec<_> = plugins.iter().map(AsRef::as_ref).collect();
            let meant = closest(name.as_ref(), known.iter().copied());
            let fault = findings.error(format!("no plugin `{name}` is run")).at(at, "there is none");
            let fault = fault.helps(meant.map(|meant| format!("did you mean `{meant}`?")));
            fault.help(format!("plugins: {}; --plugin {name}=FILE brings one", list(&known))).done();
        }
        let written = (&raw.config, &raw.grants);
        let (config, grants) = granted_as_in_config((name, plugins), written, findings);
        (name.clone(), ScriptGrants { config, grants })
    });
    granted.collect()
}

fn text(path: &Path) -> Result<String, Faults> {
    let read =
        read_named(path, MOST_BYTES).map_err(|fault| format!("the script can't be read: {}", fault.what()));
    let text = read.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count() + 1;
            format!("the script is not UTF-8: line {line} holds bytes that are not text; put those into a file, and name it: body_file, reply_file")
        })
    });
    text.map_err(|what| {
        let mut findings = Findings::new(path, "", Grammar::Script, SECTIONS);
        findings.error(what).done();
        findings.verdict::<()>(None).err().unwrap_or_else(|| Faults::new(Vec::new()))
    })
}

/// The position of a fault that concerns a whole call.
fn place_of(raw: &RawCall, whole: Range<usize>) -> Range<usize> {
    raw.command.given().map_or(whole, Spanned::span)
}

fn resolve(
    path: &Path,
    raw: &Spanned<RawCall>,
    codes: &[&str],
    findings: &mut Findings,
) -> Option<ScriptCall> {
    let (raw, whole) = (raw.get_ref(), raw.span());
    if raw.command.is_absent() {
        let fault = findings.error("a call needs a command").at(whole, "this has none");
        fault.help("write command = \"echo hello\", or command = [\"echo\", \"two words\"]").done();
    }
    let body = bytes(path, ("body", &raw.body), ("body_file", &raw.body_file), findings);
    let reply = bytes(path, ("reply", &raw.reply), ("reply_file", &raw.reply_file), findings);
    let headers = raw.headers.value().map(|list| &*list.items).unwrap_or_default();
    Some(ScriptCall {
        command: raw.command.value()?.clone(),
        headers: headers.iter().map(|header| header.get_ref().0.clone()).collect(),
        body: body.unwrap_or_default(),
        client: raw.client.value().map(ToString::to_string),
        timeout: timeout(raw, findings),
        expected: Expected {
            code: code(raw, reply.as_deref(), codes, findings),
            reply,
            has: raw.has.value().map(|text| text.0.clone()),
        },
    })
}

fn timeout(raw: &RawCall, findings: &mut Findings) -> Option<Duration> {
    let timeout = raw.timeout.given()?;
    if timeout.get_ref().milliseconds() == 0 {
        findings.error("a call needs some time").at(timeout.span(), "this is none").done();
    }
    Some(timeout.get_ref().duration())
}

/// The expected error code, which excludes an expected reply.
fn code(raw: &RawCall, reply: Option<&[u8]>, codes: &[&str], findings: &mut Findings) -> Option<String> {
    let code = raw.code.given()?;
    let text = &code.get_ref().0;
    if reply.is_some() {
        let fault =
            findings.error("a call gives a reply, or it fails").at(code.span(), "this is for one that fails");
        fault.help("leave out `code`, or what is said of the reply; `has` may stand beside `code`").done();
    }
    if !codes.contains(&text.as_str()) {
        let InvalidText { what, advice } = no_such_choice(text, codes);
        // A plugin's own code, which clients see under another name.
        let advice = if text == "failed" {
            Some("a plugin's `failed` is \"plugin-failed\" to its clients".to_owned())
        } else {
            advice
        };
        findings
            .error("`call.code`: expected the code of a failure")
            .at(code.span(), what)
            .helps(advice)
            .done();
    }
    Some(text.clone())
}

/// The bytes written at one key, or read from the file that another key names.
fn bytes(
    script: &Path,
    (key, text): (&str, &Field<PluginSetting>),
    (file_key, file): (&str, &Field<PathText>),
    findings: &mut Findings,
) -> Option<Vec<u8>> {
    if let (Some(text), Some(file)) = (text.given(), file.given()) {
        let fault = findings
            .error(format!("`call` has `{key}` and `{file_key}`"))
            .at(file.span(), "this is one too many");
        fault.at(text.span(), "beside this").help("leave one of them out").done();
    }
    if let Some(text) = text.value() {
        return Some(text.0.clone().into_bytes());
    }
    let file = file.given()?;
    let path = script.parent().unwrap_or(Path::new("")).join(&file.get_ref().0);
    // Refuses pipes: a script that names one would wait for ever.
    let read = Opened::file(&path).and_then(|opened| opened.bytes(MOST_BYTES)).map_err(|fault| {
        let message = format!("the file of `call.{file_key}` can't be read");
        let advice = format!("paths begin at the script's folder: this one is {}", path.display());
        findings.error(message).at(file.span(), fault.what()).help(advice).done();
    });
    read.ok()
}

impl Shape for ScriptCommand {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        if !matches!(value.get_ref(), DeValue::Array(_)) {
            return PluginSetting::read(at, value, findings).map(|line| Self::Line(line.0));
        }
        let words: List<PluginSetting> = List::read(at, value, findings)?;
        words.whole.then(|| Self::Words(words.items.into_iter().map(|word| word.into_inner().0).collect()))
    }

    fn schema() -> Value {
        json!({ "anyOf": [PluginSetting::schema(), List::<PluginSetting>::schema()] })
    }
}

#[cfg(test)]
mod tests;
