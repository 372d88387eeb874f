//! The grants of a plugin, as the config gives them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::state::Store;
use crate::usage::Observed;
use crate::wire::Request;

/// Capabilities of a plugin beyond those that every plugin has.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Entries it reads through `wasi:config`; `None` if it may not.
    pub config: Option<Observed<Settings>>,
    /// Allows writing events into the log through `wasi:logging`.
    pub logging: bool,
    /// Stores it may open, by the names it opens them under; `None` if it may not even ask.
    pub stores: Option<Stores>,
    /// Single files it may read, by the names it asks for them under; `None` if it may read none.
    pub files: Option<HashMap<String, Observed<PathBuf>>>,
    /// Folders it may read: the name under which it sees each, and its path.
    pub directories: Vec<(String, Observed<PathBuf>)>,
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

/// Settings of a plugin. They may hold secrets, so `Debug` shows the keys only.
#[derive(Clone, Default)]
pub struct Settings(pub BTreeMap<String, String>);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Topics, each given by its name or by a prefix and a `*`.
#[derive(Clone, Debug, Default)]
pub struct EventsGrant {
    /// Topics that the plugin may publish to.
    pub publishes: Vec<Observed<String>>,
    /// Topics that its commands may subscribe to.
    pub subscribes: Vec<Observed<String>>,
}

/// Stores by the names under which a plugin opens them. Each handle reaches its own namespace and no other.
#[derive(Clone, Default)]
pub struct Stores(pub HashMap<String, Observed<Arc<dyn Store>>>);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Decides whether a plugin may make a request for its client, and notes the use of what allows it.
#[derive(Clone)]
pub struct CommandGate(pub Arc<dyn Fn(&Request) -> bool + Send + Sync>);

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
    pub urls: Vec<Observed<(String, Vec<IpNet>)>>,
}
