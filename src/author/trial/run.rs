//! The plugins of a trial run, with their grants and bounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::app::{grants, instances};
use crate::author::fixtures::{DEFAULT_STORE, everything, open_stores, section_key, stem, unserved};
use crate::config::{self, PluginName, ScriptGrants, StoreGrant};
use crate::plugin::{Compiling, Grants, HttpGrant, Spec, Stores, VolumeLimits};
use crate::state::{Engine, Namespace, Quota};

/// A component to be called without a server, and the other plugins that it may call.
#[derive(Clone, Debug)]
pub struct TrialRun {
    /// The component's file.
    pub component: PathBuf,
    /// The names and files of the other plugins. They have the same grants and bounds.
    pub others: Vec<(String, PathBuf)>,
    /// The sharing of the component's instances between calls.
    pub instances: config::Instances,
    /// Grants by a script, for the plugin of each name. The fields below are the grants of the others.
    pub granted: BTreeMap<PluginName, ScriptGrants>,
    /// Settings that it reads through `wasi:config`.
    pub config: BTreeMap<String, String>,
    /// The file with its stores; `None` keeps them in memory.
    pub state: Option<PathBuf>,
    /// The plugin that owns the stores; `None` for the one named like the component's file.
    pub name: Option<String>,
    /// Stores that it may open, beside `default`.
    pub stores: Vec<String>,
    /// Single files that it may read.
    pub files: Vec<PathBuf>,
    /// Folders that it may read: the name that it sees, and the path.
    pub directories: Vec<(String, PathBuf)>,
    /// URLs to which it may send HTTP requests.
    pub http: HttpGrant,
    /// Bounds on compiling it.
    pub compiling: Compiling,
    /// The most memory that it may use, in bytes.
    pub memory_bytes: usize,
    /// The largest reply, in bytes.
    pub reply_bytes: usize,
    /// The most host operations per call.
    pub host_calls: u64,
    /// The most bytes carried by them.
    pub host_bytes: u64,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Time limit of a call without one of its own.
    pub timeout: Duration,
    /// True if a trap is to leave a core dump.
    pub core_dump: bool,
}

impl TrialRun {
    /// Returns the component's name: that of the plugin whose stores it has.
    #[must_use]
    pub fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| stem(&self.component))
    }

    /// Returns the names of all plugins whose names a config could have.
    #[must_use]
    pub fn names(&self) -> Vec<PluginName> {
        let others = self.others.iter().map(|(name, _)| name.clone());
        std::iter::once(self.own_name()).chain(others).filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns true if any grant is set for plugins that have none by a script.
    #[must_use]
    pub fn has_grants(&self) -> bool {
        let paths = self.files.len() + self.directories.len();
        self.config.len() + self.stores.len() + paths + self.http.urls.len() > 0
    }

    pub(super) async fn spec(&self, state: &dyn Engine) -> anyhow::Result<Spec> {
        let compiling = self.compiling.clone();
        let spec = unserved(&self.component, Grants::default(), self.memory_bytes, self.timeout, compiling);
        let owner = self.own_name();
        let grants = match self.granted.get(owner.as_str()) {
            Some(granted) => granted_by_script(granted, &owner, state).await?,
            None => self.everything(&owner, state).await?,
        };
        let instances = instances(self.instances);
        let (max_calls, idle) = (u32::MAX, Duration::MAX);
        let (key, reply_bytes) = (section_key(&owner), self.reply_bytes);
        let volume = VolumeLimits { calls: self.host_calls, bytes: self.host_bytes };
        Ok(Spec { name: owner.into(), key, instances, max_calls, idle, grants, reply_bytes, volume, ..spec })
    }

    async fn everything(&self, owner: &str, state: &dyn Engine) -> anyhow::Result<Grants> {
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).chain([DEFAULT_STORE]).collect();
        let stores = open_stores(state, owner, &stores).await?;
        let named = |path: &PathBuf| (path.display().to_string(), path.clone().into());
        Ok(Grants {
            files: Some(self.files.iter().map(named).collect()),
            directories: self.directories.iter().cloned().map(|(name, path)| (name, path.into())).collect(),
            http: Some(self.http.clone()),
            ..everything(self.config.clone(), stores)
        })
    }
}

/// Returns exactly the grants of the plugin `owner` by a script.
async fn granted_by_script(
    granted: &ScriptGrants,
    owner: &str,
    state: &dyn Engine,
) -> anyhow::Result<Grants> {
    let mut stores = granted.grants.keyvalue.as_ref().map(|_| Stores::default());
    for grant in granted.grants.keyvalue.iter().flatten() {
        let StoreGrant { plugin, store } = grant;
        let owner = plugin.as_ref().map_or(owner, AsRef::as_ref);
        let opened = state.open(Namespace::new(owner, store.as_ref()), Quota::default()).await?;
        stores.get_or_insert_default().0.insert(grant.to_string(), opened.into());
    }
    Ok(grants(granted.config.as_ref(), &granted.grants, stores, |_, _| Default::default()))
}
