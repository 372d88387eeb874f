//! The grants of a plugin, and the config lines that would grant what it lacks.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use wasmtime_wasi_config::WasiConfigVariables;

use super::http::{Gate, Web};
use crate::files::Reserved;
use crate::plugin::topics::Topics;
use crate::state::Store;
use crate::text::shown;

/// Capabilities of a plugin beyond those that every plugin has.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Entries it reads through `wasi:config`; `None` if it may not.
    pub config: Option<BTreeMap<String, String>>,
    /// Allows writing events into the log through `wasi:logging`.
    pub logging: bool,
    /// Stores it may open, by the names it opens them under; `None` if it may not even ask.
    pub stores: Option<Stores>,
    /// Single files it may read, by the names it asks for them under; `None` if it may read none.
    pub files: Option<HashMap<String, PathBuf>>,
    /// Folders it may read: the name under which it sees each, and its path.
    pub directories: Vec<(String, PathBuf)>,
    /// Other commands it may run for its client; `None` if it may run none.
    pub commands: Option<CommandGate>,
    /// Topics it may publish and subscribe to; `None` if there are none.
    pub events: Option<EventsGrant>,
    /// URLs it may send HTTP requests to; `None` if there are none.
    pub http: Option<HttpGrant>,
    /// True if the config file has a table for all but the first of these; missing grants are added to that
    /// table.
    pub is_written: bool,
}

/// Topics, each given by its name or by a prefix and a `*`.
#[derive(Clone, Debug, Default)]
pub struct EventsGrant {
    /// Topics that the plugin may publish to.
    pub publishes: Vec<String>,
    /// Topics that its commands may subscribe to.
    pub subscribes: Vec<String>,
}

/// Stores by the names under which a plugin opens them. Each handle reaches its own namespace and no other.
#[derive(Clone, Default)]
pub struct Stores(pub HashMap<String, Arc<dyn Store>>);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Decides whether a plugin may run the command of a given name.
#[derive(Clone)]
pub struct CommandGate(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for CommandGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommandGate")
    }
}

/// URLs to which a plugin may send HTTP requests.
#[derive(Clone, Debug, Default)]
pub struct HttpGrant {
    /// URLs of a scheme, a host and perhaps a port and the start of a path, as the config file checked them;
    /// each with the non-public addresses to which its name may lead all the same.
    pub urls: Vec<(String, Vec<IpNet>)>,
}

impl Grants {
    pub(in crate::plugin) fn prepare(
        &self,
        web: &Arc<Web>,
        topics: &Arc<Topics>,
        reserved: &Arc<Reserved>,
    ) -> Granted {
        let config = self.config.iter().flatten();
        let EventsGrant { publishes, subscribes } = self.events.clone().unwrap_or_default();
        Granted {
            config: config.map(|(key, value)| (key.clone(), value.clone())).collect(),
            stores: self.stores.clone().unwrap_or_default(),
            files: self.files.clone().unwrap_or_default(),
            directories: self.directories.clone(),
            reserved: Arc::clone(reserved),
            commands: self.commands.clone(),
            publishes,
            subscribes,
            topics: Arc::clone(topics),
            http: self.http.as_ref().map(|grant| Arc::new(Gate::new(grant, Arc::clone(web)))),
        }
    }
}

/// Characters logged of the name of something not granted.
const MAX_MISSING_CHARS: usize = 256;

/// A resource that a plugin asks for and its grants do not cover.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing<'a> {
    /// The store it opens under this name.
    Store(&'a str),
    /// The file it asks for by this path.
    File(&'a str),
    /// Another plugin's command.
    Command(&'a str),
    /// Publishing to this topic.
    Publish(&'a str),
    /// Subscribing to these topics.
    Subscribe(&'a str),
    /// Requests to this URL.
    Url(&'a str),
}

impl Missing<'_> {
    /// Describes the missing grant.
    pub(super) fn what(self) -> String {
        let (kind, name) = match self {
            Self::Store(name) => ("the store", name),
            Self::File(path) => ("the file", path),
            Self::Command(name) => ("the command", name),
            Self::Publish(topic) => ("to publish to the topic", topic),
            Self::Subscribe(topics) => ("to subscribe to the topics", topics),
            Self::Url(url) => ("the URL", url),
        };
        format!("{kind} {:?} is not granted", shown(name, MAX_MISSING_CHARS).to_string())
    }

    /// The config line that would grant it to `plugin`, if the plugin is to have it.
    pub(super) fn advice(self, plugin: &str) -> String {
        let (value, key, option) = match self {
            Self::Store(name) => (name.to_owned(), "keyvalue", ", or `--store` of the command line"),
            Self::File(path) => (path.to_owned(), "files", ", or `--file` of the command line"),
            Self::Command(name) => (name.to_owned(), "commands", ""),
            Self::Publish(topic) => (format!("publish {topic}"), "events", ""),
            Self::Subscribe(topics) => (format!("subscribe {topics}"), "events", ""),
            Self::Url(url) => (url.to_owned(), "http", ", or `--http` of the command line"),
        };
        let value = shown(&value, MAX_MISSING_CHARS).to_string();
        format!("add {value:?} to `{key}` of [plugins.{plugin}.grants]{option}")
    }
}

/// The grants of one plugin in the form that host functions use.
pub(in crate::plugin) struct Granted {
    pub(super) config: WasiConfigVariables,
    pub(super) stores: Stores,
    pub(super) files: HashMap<String, PathBuf>,
    pub(super) directories: Vec<(String, PathBuf)>,
    /// Paths to which no file and no folder may lead.
    pub(super) reserved: Arc<Reserved>,
    pub(super) commands: Option<CommandGate>,
    pub(super) publishes: Vec<String>,
    pub(super) subscribes: Vec<String>,
    pub(super) topics: Arc<Topics>,
    pub(super) http: Option<Arc<Gate>>,
}

/// An interface that a plugin may import only with a grant.
pub(in crate::plugin) struct Grantable {
    /// The interface without its version.
    pub(in crate::plugin) interface: &'static str,
    /// Major and minor version of its package.
    pub(in crate::plugin) version: (u64, u64),
    /// Returns true if these grants allow it.
    pub(in crate::plugin) is_granted: fn(&Grants) -> bool,
    /// Lines to write below `[plugins.NAME]` to grant it, `NAME` being the plugin's.
    pub(in crate::plugin) lines: &'static str,
}

/// The config table, of the plugin `NAME`, for all grants but the plugin's own config.
pub(in crate::plugin) const GRANTS_TABLE: &str = "[plugins.NAME.grants]";

/// All interfaces that need a grant.
pub(in crate::plugin) const GRANTABLE: &[Grantable] = &[
    Grantable {
        interface: "wasi:config/store",
        version: (0, 2),
        is_granted: |grants| grants.config.is_some(),
        lines: "[plugins.NAME.config]",
    },
    Grantable {
        interface: "wasi:logging/logging",
        version: (0, 1),
        is_granted: |grants| grants.logging,
        lines: "[plugins.NAME.grants]\nlogging = true",
    },
    Grantable {
        interface: "wasi:keyvalue/store",
        version: (0, 2),
        is_granted: |grants| grants.stores.is_some(),
        lines: KEYVALUE_LINES,
    },
    Grantable {
        interface: "wasi:keyvalue/atomics",
        version: (0, 2),
        is_granted: |grants| grants.stores.is_some(),
        lines: KEYVALUE_LINES,
    },
    Grantable {
        interface: "wasi:keyvalue/batch",
        version: (0, 2),
        is_granted: |grants| grants.stores.is_some(),
        lines: KEYVALUE_LINES,
    },
    Grantable {
        interface: "lictor:plugin/state",
        version: (0, 1),
        is_granted: |grants| grants.stores.is_some(),
        lines: KEYVALUE_LINES,
    },
    Grantable {
        interface: "lictor:plugin/files",
        version: (0, 1),
        is_granted: |grants| grants.files.is_some(),
        lines: "[plugins.NAME.grants]\nfiles = [\"/PATH\"]",
    },
    Grantable {
        interface: "lictor:plugin/call",
        version: (0, 1),
        is_granted: |grants| grants.commands.is_some(),
        lines: "[plugins.NAME.grants]\ncommands = [\"COMMAND\"]",
    },
    Grantable {
        interface: "lictor:plugin/events",
        version: (0, 1),
        is_granted: |grants| grants.events.is_some(),
        lines: "[plugins.NAME.grants]\nevents = [\"TOPIC\"]",
    },
    Grantable {
        interface: "lictor:plugin/http",
        version: (0, 1),
        is_granted: |grants| grants.http.is_some(),
        lines: HTTP_LINES,
    },
    Grantable {
        interface: "wasi:http/types",
        version: (0, 2),
        is_granted: |grants| grants.http.is_some(),
        lines: HTTP_LINES,
    },
    Grantable {
        interface: "wasi:http/outgoing-handler",
        version: (0, 2),
        is_granted: |grants| grants.http.is_some(),
        lines: HTTP_LINES,
    },
];

const HTTP_LINES: &str = "[plugins.NAME.grants]\nhttp = [\"https://HOST\"]";

const KEYVALUE_LINES: &str = "[plugins.NAME.grants]\nkeyvalue = [\"default\"]";
