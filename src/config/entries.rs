//! The entries of a config that can be taken away one by one: clients' and roles' commands, clients' roles,
//! plugins' commands and grants. Their use is recorded under these names.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use toml::Spanned;

use super::fields::{Field, Findings, List, Named};
use super::names::{ClientName, PluginName};
use super::raw::{RawClient, RawConfig, RawGrants, RawHttp, RawPlugin};
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
    /// The section that it belongs to, if that can be taken away once none of its entries is used.
    pub owner: Option<Owner>,
    /// True if another entry names it, so that the config would have a fault without it.
    pub is_named: bool,
    kind: Kind,
}

/// A section that can be taken away once none of its entries is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A client that nothing but its entries permits anything.
    Client(ClientName),
    /// A plugin whose stores no other is granted.
    Plugin(PluginName),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "client {name}"),
            Self::Plugin(name) => write!(f, "plugin {name}"),
        }
    }
}

impl Owner {
    /// Returns the participle of its use.
    #[must_use]
    pub fn use_verb(&self) -> &'static str {
        match self {
            Self::Client(_) => "used",
            Self::Plugin(_) => "called",
        }
    }

    /// Returns the command that takes it away, after which the config still loads.
    #[must_use]
    pub fn removal(&self) -> String {
        match self {
            Self::Client(name) => format!("lictor client rm {name}"),
            Self::Plugin(name) => format!("lictor plugin rm {name}"),
        }
    }
}

/// The kind of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pattern,
    Role,
    Plugin,
    Command,
    Settings,
    Store,
    Granted,
    File,
    Folder,
    Topic,
    Url,
}

impl Entry {
    /// The list and the text.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.list, &self.text)
    }

    /// Returns the text as the config has it.
    #[must_use]
    pub fn written(&self) -> String {
        match self.kind {
            Kind::Plugin | Kind::Settings | Kind::Folder => key_text(&self.text),
            _ => quoted(&self.text),
        }
    }

    /// Returns the kind and the text.
    #[must_use]
    pub fn subject(&self) -> String {
        let kind = match self.kind {
            Kind::Settings => return format!("{}.{}", self.list, self.text),
            Kind::Pattern => "pattern",
            Kind::Role => "role",
            Kind::Plugin => "plugin",
            Kind::Command => "command",
            Kind::Store => "store",
            Kind::Granted => "granted command",
            Kind::File => "file",
            Kind::Folder => "folder",
            Kind::Topic => "topic",
            Kind::Url => "URL",
        };
        format!("{kind} {}", self.written())
    }

    /// Returns the participle of its use.
    #[must_use]
    pub fn use_verb(&self) -> &'static str {
        match self.kind {
            Kind::Plugin | Kind::Command => "called",
            Kind::Settings | Kind::File => "read",
            Kind::Store => "opened",
            Kind::Pattern | Kind::Role | Kind::Granted | Kind::Folder | Kind::Topic | Kind::Url => "used",
        }
    }

    /// Returns the way to take it away after which the config still loads. A component may import what a list
    /// or a table grants, and then needs that it is there, even empty; and a plugin without `commands` has
    /// one of its own name.
    #[must_use]
    pub fn removal(&self) -> String {
        let list = &self.list;
        match self.kind {
            Kind::Pattern | Kind::Role => format!("delete it from {list}"),
            Kind::Plugin => format!("delete [plugins.{}] and its tables", self.written()),
            Kind::Settings => "delete what is in this table; keep the table, even empty".to_owned(),
            // A component needs no grant to import WASI's file system.
            Kind::Folder => format!("delete it from [{list}]"),
            Kind::Command | Kind::Store | Kind::Granted | Kind::File | Kind::Topic | Kind::Url => {
                format!("delete it from {list}; keep the list, even empty")
            }
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
        let (list, text) = (list.into(), text.into());
        Self { list, text, place, owner: None, is_named: false, kind: Kind::Pattern }
    }

    /// Makes a pattern of a client, for a test.
    pub(crate) fn of_client(name: &str, text: &str) -> Self {
        let client = Owner::Client(name.to_owned().try_into().unwrap());
        Self { owner: Some(client), ..Self::item(&format!("clients.{name}.commands"), text) }
    }

    /// Makes a command of a plugin, for a test.
    pub(crate) fn of_plugin(name: &str, text: &str) -> Self {
        let plugin = Owner::Plugin(name.to_owned().try_into().unwrap());
        let item = Self::item(&format!("plugins.{name}.commands"), text);
        Self { owner: Some(plugin), kind: Kind::Command, ..item }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.list, self.written())
    }
}

/// Returns the entries of `raw`, without those that are disabled.
pub(super) fn entries(raw: &RawConfig, findings: &Findings) -> Arc<[Entry]> {
    let stores = named(&raw.plugins).filter_map(|(_, plugin)| plugin.grants.value()?.keyvalue.value());
    let owners = stores.flat_map(|list| &list.items).filter_map(|store| store.get_ref().plugin.as_ref());
    let mut found = Found { findings, owners: owners.collect(), entries: Vec::new() };
    for (name, role) in named(&raw.roles) {
        let list = format!("{}.commands", name.get_ref().key());
        found.items(Kind::Pattern, list, &role.commands, ToString::to_string);
    }
    for (name, client) in named(&raw.clients) {
        found.client(name.get_ref(), client);
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
    /// The plugins whose stores are granted to others.
    owners: HashSet<&'f PluginName>,
    entries: Vec<Entry>,
}

impl Found<'_> {
    fn client(&mut self, name: &ClientName, raw: &RawClient) {
        let (section, first) = (name.key(), self.entries.len());
        self.items(Kind::Role, format!("{section}.roles"), &raw.roles, ToString::to_string);
        self.items(Kind::Pattern, format!("{section}.commands"), &raw.commands, ToString::to_string);
        // A client whose denials are only reported runs commands that no entry permits.
        if raw.report_until.is_absent() {
            self.own(first, &Owner::Client(name.clone()));
        }
    }

    fn plugin(&mut self, name: &Spanned<PluginName>, raw: &RawPlugin) {
        let (section, first) = (name.get_ref().key(), self.entries.len());
        let is_named = self.owners.contains(name.get_ref());
        match raw.commands.is_absent() {
            // Without it there is no command of this name.
            true => {
                self.push(Kind::Plugin, (&"plugins".into(), name.get_ref().as_ref()), name);
                self.entries.last_mut().into_iter().for_each(|entry| entry.is_named = is_named);
            }
            false => {
                self.items(Kind::Command, format!("{section}.commands"), &raw.commands, ToString::to_string);
            }
        }
        if let Some(config) = raw.config.given().filter(|config| !config.get_ref().entries.is_empty()) {
            self.push(Kind::Settings, (&section.as_str().into(), "config"), config);
        }
        if let Some(grants) = raw.grants.value() {
            self.grants(&format!("{section}.grants"), grants);
        }
        if !is_named {
            self.own(first, &Owner::Plugin(name.get_ref().clone()));
        }
    }

    /// Has the entries from `first` on belong to `owner`.
    fn own(&mut self, first: usize, owner: &Owner) {
        self.entries[first..].iter_mut().for_each(|entry| entry.owner = Some(owner.clone()));
    }

    fn grants(&mut self, section: &str, raw: &RawGrants) {
        // Without `logging`, a component that imports it can't be loaded: it is nothing to take away.
        let RawGrants { logging: _, keyvalue, commands, files, directories, events, http } = raw;
        let list = |key: &str| format!("{section}.{key}");
        self.items(Kind::Store, list("keyvalue"), keyvalue, ToString::to_string);
        self.items(Kind::Granted, list("commands"), commands, ToString::to_string);
        self.items(Kind::File, list("files"), files, |path| path.0.display().to_string());
        let folders: Arc<str> = list("directories").into();
        for (name, path) in directories.value().into_iter().flat_map(|named| &named.entries) {
            self.push(Kind::Folder, (&folders, &name.get_ref().0), path);
        }
        self.items(Kind::Topic, list("events"), events, ToString::to_string);
        self.items(Kind::Url, list("http"), http, |http| match http {
            RawHttp::Url(url) => url.0.clone(),
            RawHttp::Table(table) => table.url.value().map(|url| url.0.clone()).unwrap_or_default(),
        });
    }

    fn items<T>(&mut self, kind: Kind, list: String, field: &Field<List<T>>, text: impl Fn(&T) -> String) {
        let list: Arc<str> = list.into();
        for item in field.value().into_iter().flat_map(|list| &list.items) {
            self.push(kind, (&list, &text(item.get_ref())), item);
        }
    }

    fn push<T>(&mut self, kind: Kind, (list, text): (&Arc<str>, &str), value: &Spanned<T>) {
        let place = self.findings.place(value.span().start);
        let (list, text) = (Arc::clone(list), text.into());
        self.entries.push(Entry { list, text, place, owner: None, is_named: false, kind });
    }
}
