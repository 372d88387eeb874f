//! The notes of one config's entries, found by what the entries grant.

use std::collections::HashMap;
use std::sync::Arc;

use crate::authz::PermissionPattern;
use crate::config::{Client, ClientName, Config, Entry, PluginName};
use crate::usage::{LastUse, Used};

/// The notes of a config's entries. By default nothing is noted.
#[derive(Default)]
pub(in crate::app) struct Watched(HashMap<Arc<str>, HashMap<Arc<str>, Arc<LastUse>>>);

impl<'e> FromIterator<(&'e Entry, Arc<LastUse>)> for Watched {
    fn from_iter<I: IntoIterator<Item = (&'e Entry, Arc<LastUse>)>>(rows: I) -> Self {
        let mut watched = Self::default();
        for (entry, row) in rows {
            watched.0.entry(Arc::clone(&entry.list)).or_default().insert(Arc::clone(&entry.text), row);
        }
        watched
    }
}

impl Watched {
    /// Returns the note of requests that `pattern` of the client `name` allows: as one of its own, or else
    /// as one of its first role that has it.
    pub(in crate::app) fn of_pattern(
        &self,
        config: &Config,
        (name, client): (&ClientName, &Client),
        pattern: &PermissionPattern,
    ) -> Used {
        let (section, text) = (name.key(), pattern.as_ref());
        if let Some(own) = self.find(&format!("{section}.commands"), text) {
            return own.into();
        }
        let of_role = client.roles.iter().find_map(|role| {
            let (role_name, _) = config.roles.get_key_value(role)?;
            let pattern = self.find(&format!("{}.commands", role_name.key()), text)?;
            Some(Used::both(pattern, self.find(&format!("{section}.roles"), role.as_ref())?))
        });
        of_role.unwrap_or_default()
    }

    /// Returns the note of calls of `command` of the plugin `name`.
    pub(in crate::app) fn of_command(&self, name: &PluginName, command: &str) -> Used {
        let listed = self.find(&format!("{}.commands", name.key()), command);
        listed.or_else(|| self.find("plugins", name.as_ref())).map(Used::from).unwrap_or_default()
    }

    /// Returns the note of the grant `text` in the list or table `key` of the plugin `name`.
    pub(in crate::app) fn of_grant(&self, name: &PluginName, key: &str, text: &str) -> Used {
        let separator = if key.is_empty() { "" } else { "." };
        let list = format!("{}{separator}{key}", name.key());
        self.find(&list, text).map(Used::from).unwrap_or_default()
    }

    fn find(&self, list: &str, text: &str) -> Option<Arc<LastUse>> {
        self.0.get(list)?.get(text).cloned()
    }
}
