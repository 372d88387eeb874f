//! The route of a permitted request: [`Permit`] to [`Target`].
//!
//! Knows no wasmtime: a plugin is whatever `P` the composition root puts into the table.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::authz::Permit;
use crate::usage::Observed;

/// A command that the server itself answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// `@ping`
    Ping,
    /// `@whoami`
    Whoami,
    /// `@commands`
    Commands,
    /// `@cancel SEQUENCE`
    Cancel,
    /// `@status`
    Status,
    /// `@metrics`
    Metrics,
    /// `@clients`
    Clients,
    /// `@slowlog`
    Slowlog,
    /// `@errors`
    Errors,
    /// `@watch`
    Watch,
    /// `@plugins`
    Plugins,
    /// `@reload`
    Reload,
    /// `@kick CONNECTION`
    Kick,
    /// `@drain`
    Drain,
}

/// All built-ins with their usage and summary, in the order in which `@commands` shows them.
/// `server::builtin` runs them.
pub const BUILT_INS: &[(BuiltIn, &str, &str, &str)] = &[
    (BuiltIn::Ping, "@ping", "@ping", "replies pong"),
    (BuiltIn::Whoami, "@whoami", "@whoami", "shows who you are authenticated as"),
    (BuiltIn::Commands, "@commands", "@commands", "lists the commands you may run"),
    (BuiltIn::Cancel, "@cancel", "@cancel SEQUENCE", "cancels the request with that Sequence"),
    (
        BuiltIn::Status,
        "@status",
        "@status [metrics|unused [TIME]]",
        "shows server status, metrics or unused permissions",
    ),
    (BuiltIn::Metrics, "@metrics", "@metrics", "shows metrics in the text format of Prometheus"),
    (
        BuiltIn::Clients,
        "@clients",
        "@clients [CONDITION…]",
        "lists clients with their connections, last use and days to expiry",
    ),
    (
        BuiltIn::Slowlog,
        "@slowlog",
        "@slowlog [by MEASURE] [N]|reset",
        "lists the requests that took most time, memory or bytes",
    ),
    (
        BuiltIn::Errors,
        "@errors",
        "@errors [N]",
        "lists refused connections and failed commands, and how to allow them",
    ),
    (BuiltIn::Watch, "@watch", "@watch [CONDITION…]", "shows requests of all clients as they end"),
    (BuiltIn::Plugins, "@plugins", "@plugins", "lists plugins with their commands and hashes"),
    (BuiltIn::Reload, "@reload", "@reload", "reloads the config, certificates and plugins"),
    (BuiltIn::Kick, "@kick", "@kick CONNECTION|CONDITION…", "closes connections"),
    (BuiltIn::Drain, "@drain", "@drain", "stops the server once its requests have finished"),
];

/// The built-ins by which an operator changes the server's behaviour.
pub const OPERATORS: &[&str] = &["@reload", "@kick", "@drain"];

/// The commands of all plugins. The operator chooses their names, so a fast hash suffices.
#[derive(Clone, Debug)]
pub struct Routes<P> {
    plugins: HashMap<Arc<str>, Observed<P>, FxBuildHasher>,
}

impl<P, O: Into<Observed<P>>> FromIterator<(Arc<str>, O)> for Routes<P> {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, O)>>(commands: I) -> Self {
        Self { plugins: commands.into_iter().map(|(command, plugin)| (command, plugin.into())).collect() }
    }
}

/// The executor of a permitted request.
#[derive(Debug)]
pub enum Target<'a, P> {
    /// The server.
    BuiltIn(BuiltIn),
    /// A plugin.
    Plugin(&'a P),
}

impl<P> Routes<P> {
    /// Finds the target of the permitted request; `None` if there is no such command.
    pub fn route(&self, permit: &Permit<'_>) -> Option<Target<'_, P>> {
        let command = permit.request().command();
        if command.starts_with('@') {
            return built_in(command).map(Target::BuiltIn);
        }
        self.plugins.get(command).map(|plugin| Target::Plugin(plugin.note()))
    }

    /// Returns true if there is such a command.
    #[must_use]
    pub fn has(&self, command: &str) -> bool {
        built_in(command).is_some() || self.plugins.contains_key(command)
    }

    /// Returns true if `command` goes to a plugin for which `is` returns true.
    pub fn goes_to(&self, command: &str, is: impl FnOnce(&P) -> bool) -> bool {
        self.plugins.get(command).is_some_and(|plugin| is(plugin))
    }

    /// The plugins' commands, in no order.
    pub fn plugin_commands(&self) -> impl Iterator<Item = (&str, &P)> {
        self.plugins.iter().map(|(command, plugin)| (&**command, &**plugin))
    }
}

fn built_in(command: &str) -> Option<BuiltIn> {
    BUILT_INS.iter().find(|(_, name, ..)| *name == command).map(|(built_in, ..)| *built_in)
}
