//! Contents of a config file with the position of each value. Reading continues after a fault, so that one
//! run shows all of them.
//!
//! Plain serde stops at the first fault; a [`Field`] is absent, faulty (and reported) or given instead. Knows
//! the forms of values, not their meaning together.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Draft, Fault, Faults, Severity};
use super::form::Written::Like;
use super::form::{self, Written, like};
use super::moment::{self, Moment};
use super::redact::{self, Grammar};
use super::sections::Sections;
use super::source::{Place, Source};
use crate::files::{self, Reason};
use crate::text::InvalidText;

/// The faults found so far in the files of a config.
pub(super) struct Findings {
    source: Arc<Source>,
    sections: Sections,
    faults: Vec<Fault>,
    /// Folders and keys already warned about: most files of a config are in the same folder.
    told: Vec<PathBuf>,
    /// Keys that were probably meant by unknown ones: their absence is told already.
    misspelt: Vec<String>,
    digest: Sha256,
}

impl Findings {
    /// Finds nothing yet in `text`, the file at `path`.
    pub(super) fn new(path: &Path, text: &str, grammar: Grammar, sections: Sections) -> Self {
        let source = Source::new(path, text, grammar, sections);
        let (faults, told, misspelt) = (Vec::new(), Vec::new(), Vec::new());
        let digest = Sha256::new().chain_update(text);
        Self { source: Arc::new(source), sections, faults, told, misspelt, digest }
    }

    /// Adds `text`, the file at `path`; returns the offset of its first byte.
    pub(super) fn add(&mut self, path: &Path, text: &str, grammar: Grammar) -> usize {
        self.digest.update(text);
        Arc::make_mut(&mut self.source).add(path, text, grammar, self.sections)
    }

    /// SHA-256 of the files, one after the other, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        base16ct::lower::encode_string(&self.digest.clone().finalize())
    }

    /// The path of the main file, as shown.
    pub(super) fn main(&self) -> &str {
        self.source.file_at(0).shown()
    }

    /// The files.
    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Returns the line that `offset` belongs to.
    pub(super) fn place(&self, offset: usize) -> Place {
        self.source.place(offset)
    }

    /// The keys that faults may name.
    pub(super) fn sections(&self) -> Sections {
        self.sections
    }

    /// Returns the name in messages of `key` in the table `at`.
    pub(super) fn name(&self, at: &str, key: &str) -> String {
        let key = redact::key(at, key, self.sections);
        if at.is_empty() { key.to_string() } else { format!("{at}.{key}") }
    }

    /// Begins a fault that prevents serving.
    pub(super) fn error(&mut self, message: impl Into<String>) -> Draft<'_> {
        Draft::new(Severity::Error, message.into(), &self.source, &mut self.faults)
    }

    /// Begins a fault that does not prevent serving.
    pub(super) fn warning(&mut self, message: impl Into<String>) -> Draft<'_> {
        Draft::new(Severity::Warning, message.into(), &self.source, &mut self.faults)
    }

    /// Notes that `fault` is told; returns true if its folder was not told of before.
    pub(super) fn note_warning(&mut self, fault: &files::Fault) -> bool {
        let Reason::LooseFolder { folder, .. } = &fault.reason else { return true };
        self.note_told(folder)
    }

    /// Notes that `path` is told of; returns true if it was not before.
    pub(super) fn note_told(&mut self, path: &Path) -> bool {
        let is_first = !self.told.iter().any(|other| other == path);
        self.told.push(path.to_owned());
        is_first
    }

    /// Notes that an unknown key is told of which probably means `key` of the section `at`.
    pub(super) fn note_misspelt(&mut self, at: &str, key: &str) {
        self.misspelt.push(format!("{at}.{key}"));
    }

    /// Returns true if an unknown key that probably means `key` of the section `at` is told of.
    pub(super) fn is_misspelt(&self, at: &str, key: &str) -> bool {
        self.misspelt.contains(&format!("{at}.{key}"))
    }

    /// Returns true if a fault that prevents serving was found.
    pub(super) fn any_error(&self) -> bool {
        self.faults.iter().any(|fault| fault.severity() == Severity::Error)
    }

    /// Returns `config` and the warnings in file order, or every fault if one prevents serving.
    pub(super) fn verdict<T>(mut self, config: Option<T>) -> Result<(T, Vec<Fault>), Faults> {
        let failed = self.any_error();
        self.faults.sort_by_key(|fault| fault.offset());
        match config {
            Some(config) if !failed => Ok((config, self.faults)),
            _ => Err(Faults::new(self.faults)),
        }
    }
}

/// A key of a table.
#[derive(Default)]
pub(super) enum Field<T> {
    /// Missing.
    #[default]
    Absent,
    /// Present, with a value that was reported as a fault.
    Faulty,
    /// Present, with a value of the right form.
    Given(Spanned<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    /// Returns the value that was given, made into another.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Option<Spanned<U>> {
        match self {
            Self::Given(value) => Some(Spanned::new(value.span(), make(value.into_inner()))),
            Self::Absent | Self::Faulty => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(Spanned::get_ref)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Self
    where
        T: Shape,
    {
        T::read(at, value, findings)
            .map_or(Self::Faulty, |read| Self::Given(Spanned::new(value.span(), read)))
    }
}

impl<T> Field<List<T>> {
    /// Returns true if nothing was written here, not even a faulty element.
    pub(super) fn has_none(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Faulty => false,
            Self::Given(list) => list.get_ref().items.is_empty() && list.get_ref().whole,
        }
    }
}

/// A type that can be read from a value. `at` is the value's name in messages: its keys from the top, joined
/// by dots.
pub(super) trait Shape: Sized {
    /// Reads the value; reports a fault if it has another form.
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self>;

    /// Returns the JSON Schema of the value.
    fn schema() -> Value;
}

/// A type written as a string.
pub(super) trait Text: TryFrom<String, Error = InvalidText> {
    /// The texts that may be valid.
    const WRITTEN: Written;
    /// The type's name in messages.
    const WANTED: &'static str;
    /// Advice for a value of another type.
    const ADVICE: &'static str;
    /// True if a bare integer should be reported as missing its unit.
    const HAS_UNIT: bool = false;
}

impl<T: Text> Shape for T {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let number = value.get_ref().as_integer().filter(|_| Self::HAS_UNIT).map(|integer| integer.as_str());
        let Some(text) = value.get_ref().as_str().or(number) else {
            wrong_type(at, T::WANTED, value, findings).help(T::ADVICE).done();
            return None;
        };
        T::try_from(text.to_owned())
            .map_err(|invalid| refused(at, T::WANTED, invalid, value.span(), findings))
            .ok()
    }

    fn schema() -> Value {
        T::WRITTEN.schema()
    }
}

/// Reports that the value at `span` is not `wanted`.
pub(super) fn refused(
    at: &str,
    wanted: &str,
    invalid: InvalidText,
    span: Range<usize>,
    findings: &mut Findings,
) {
    findings.error(format!("`{at}`: expected {wanted}")).at(span, invalid.what).helps(invalid.advice).done();
}

pub(super) fn wrong_type<'f>(
    at: &str,
    wanted: &str,
    value: &Spanned<DeValue<'_>>,
    findings: &'f mut Findings,
) -> Draft<'f> {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    findings.error(format!("`{at}`: expected {wanted}")).at(value.span(), format!("this is {found}"))
}

impl Shape for bool {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            wrong_type(at, "true or false", value, findings)
                .help("write true or false, without quotes")
                .done();
        }
        read
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl Shape for u64 {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        const WANTED: &str = "a whole number";
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(at, WANTED, value, findings).help("write a number, without quotes and unit").done();
            return None;
        };
        let read = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
        if read.is_none() {
            let what = if integer.as_str().starts_with('-') { "negative" } else { "too large to count" };
            let invalid = InvalidText::new(format!("this is {what}"));
            refused(at, WANTED, invalid, value.span(), findings);
        }
        read
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Shape for Moment {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        const WANTED: &str = "a date, a time and an offset";
        let Some(written) = value.get_ref().as_datetime() else {
            wrong_type(at, WANTED, value, findings).help(moment::ADVICE).done();
            return None;
        };
        Self::try_from(*written).map_err(|invalid| refused(at, WANTED, invalid, value.span(), findings)).ok()
    }

    fn schema() -> Value {
        Like(like::MOMENT).schema()
    }
}

/// A list. Faulty elements were reported and left out.
pub(super) struct List<T> {
    /// The valid elements, in order.
    pub(super) items: Vec<Spanned<T>>,
    /// True if no element was left out.
    pub(super) whole: bool,
}

impl<T: Shape> Shape for List<T> {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            wrong_type(at, "a list", value, findings)
                .help("put the value into square brackets: [ … ]")
                .done();
            return None;
        };
        let read = |element: &Spanned<DeValue<'_>>| {
            T::read(at, element, findings).map(|read| Spanned::new(element.span(), read))
        };
        let items: Vec<_> = array.iter().filter_map(read).collect();
        Some(Self { whole: items.len() == array.len(), items })
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// A table whose keys the operator chooses. Faulty keys and values were reported and left out.
pub(super) struct Named<K, V> {
    /// The valid entries: name and value.
    pub(super) entries: Vec<(Spanned<K>, Spanned<V>)>,
    /// True if no entry was left out.
    pub(super) whole: bool,
}

impl<K: Text, V: Shape> Shape for Named<K, V> {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let table = as_table(at, value, findings)?;
        let mut entries = Vec::new();
        for (name, value) in table {
            let text = name.get_ref();
            let name = K::try_from(text.to_string()).map(|read| Spanned::new(name.span(), read)).map_err(
                |invalid| {
                    refused(&findings.name(at, text), K::WANTED, invalid, name.span(), findings);
                },
            );
            let read = V::read(&findings.name(at, text), value, findings);
            if let (Ok(name), Some(read)) = (name, read) {
                entries.push((name, Spanned::new(value.span(), read)));
            }
        }
        entries.sort_by_key(|(name, _)| name.span().start); // the table goes by names, conflicts go by lines
        Some(Self { whole: entries.len() == table.len(), entries })
    }

    fn schema() -> Value {
        form::named(&K::WRITTEN.schema(), V::schema())
    }
}

/// Returns `value` as a table; reports a fault if it is something else.
pub(super) fn as_table<'v, 'i>(
    at: &str,
    value: &'v Spanned<DeValue<'i>>,
    findings: &mut Findings,
) -> Option<&'v DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        wrong_type(at, "a table", value, findings)
            .help(format!("write it as a section of its own: [{at}]"))
            .done();
    }
    table
}
