//! The entries of a config that can be taken away one by one: clients' and roles' commands, clients' roles,
//! plugins' commands and grants. Their use is recorded under these names.

use std::fmt;
use std::sync::Arc;

use toml::Spanned;

use super::fields::{Field, Findings, List, Named};
use super::names::PluginName;
use super::raw::{RawConfig, RawGrants, RawHttp, RawPlugin};
use super::source::Place;
use super::written::{key_text, quoted};

/// An entry of a config that can be taken away by itself. Its list and its text identify it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key of the list or table that holds it, such as `clients.ci.commands` or `plugins.kv.grants`.
    pub list: Arc<str>,
    /// The text of a list's item, or the key in a table.
    pub text: Arc<str>,
    /// Its place.
    pub place: Place,
    form: Form,
}

/// The form of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An item of a list.
    Item,
    /// A key of a table, or a section.
    Key,
}

impl Entry {
    /// The list and the text.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.list, &self.text)
    }

    /// Returns the text to delete from the list or table.
    #[must_use]
    pub fn written(&self) -> String {
        match self.form {
            Form::Item => quoted(&self.text),
            Form::Key => key_text(&self.text),
        }
    }
}

#[cfg(test)]
use {super::source::Source, std::path::Path};

#[cfg(test)]
impl Entry {
    /// Makes an item of a list, for a test.
    pub(crate) fn item(list: &str, text: &str) -> Self {
        let place = Source::of(Path::new("server.toml")).place(0);
        Self { list: list.into(), text: text.into(), form: Form::Item, place }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.list, self.written())
    }
}

/// Returns the entries of `raw`, without those that are disabled.
pub(super) fn entries(raw: &RawConfig, findings: &Findings) -> Arc<[Entry]> {
    let mut found = Found { findings, entries: Vec::new() };
    for (name, role) in named(&raw.roles) {
        found.items(format!("{}.commands", name.get_ref().key()), &role.commands, ToString::to_string);
    }
    for (name, client) in named(&raw.clients) {
        let section = name.get_ref().key();
        found.items(format!("{section}.roles"), &client.roles, ToString::to_string);
        found.items(format!("{section}.commands"), &client.commands, ToString::to_string);
    }
    for (name, plugin) in named(&raw.plugins) {
        found.plugin(name, plugin);
    }
    found.entries.into()
}

fn named<K, V>(field: &Field<Named<K, V>>) -> impl Iterator<Item = (&Spanned<K>, &V)> {
    let entries = field.value().into_iter().flat_map(|named| &named.entries);
    entries.map(|(name, value)| (name, value.get_ref()))
}

/// The entries found so far.
struct Found<'f> {
    findings: &'f Findings,
    entries: Vec<Entry>,
}

impl Found<'_> {
    fn plugin(&mut self, name: &Spanned<PluginName>, raw: &RawPlugin) {
        let section = name.get_ref().key();
        match raw.commands.is_absent() {
            // Without it there is no command of this name.
            true => self.key("plugins", name.get_ref().as_ref(), name),
            false => self.items(format!("{section}.commands"), &raw.commands, ToString::to_string),
        }
        if let Some(config) = raw.config.given() {
            self.key(&section, "config", config);
        }
        if let Some(grants) = raw.grants.value() {
            self.grants(&format!("{section}.grants"), grants);
        }
    }

    fn grants(&mut self, section: &str, raw: &RawGrants) {
        let RawGrants { logging, keyvalue, commands, files, directories, events, http } = raw;
        if let Some(logging) = logging.given().filter(|logging| *logging.get_ref()) {
            self.key(section, "logging", logging);
        }
        let list = |key: &str| format!("{section}.{key}");
        self.items(list("keyvalue"), keyvalue, ToString::to_string);
        self.items(list("commands"), commands, ToString::to_string);
        self.items(list("files"), files, |path| path.0.display().to_string());
        for (name, path) in directories.value().into_iter().flat_map(|named| &named.entries) {
            self.key(&list("directories"), &name.get_ref().0, path);
        }
        self.items(list("events"), events, ToString::to_string);
        self.items(list("http"), http, |http| match http {
            RawHttp::Url(url) => url.0.clone(),
            RawHttp::Table(table) => table.url.value().map(|url| url.0.clone()).unwrap_or_default(),
        });
    }

    fn items<T>(&mut self, list: String, field: &Field<List<T>>, text: impl Fn(&T) -> String) {
        let list: Arc<str> = list.into();
        for item in field.value().into_iter().flat_map(|list| &list.items) {
            self.push(&list, text(item.get_ref()).into(), Form::Item, item);
        }
    }

    fn key<T>(&mut self, list: &str, text: &str, value: &Spanned<T>) {
        self.push(&list.into(), text.into(), Form::Key, value);
    }

    fn push<T>(&mut self, list: &Arc<str>, text: Arc<str>, form: Form, value: &Spanned<T>) {
        let place = self.findings.place(value.span().start);
        self.entries.push(Entry { list: Arc::clone(list), text, form, place });
    }
}
