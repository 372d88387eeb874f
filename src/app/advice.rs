//! Advice on a config that may be served, beyond the warnings about its own lines: one list, printed by
//! `lictor check`, and logged by the start and each reload.

use std::time::SystemTime;

use super::plugins::Plugins;
use super::{addresses, dates, memory};
use crate::config::{self, Config, Fault, PluginName};
use crate::identity::Authority;

/// Returns all advice on `config`, which names `plugins`, at the time `now`.
pub(super) fn advice(config: &Config, plugins: &Plugins, now: SystemTime) -> Vec<Fault> {
    let listen = [
        ("server.listen", &config.server.listen),
        ("admin.tls_listen", &config.admin.tls_listen),
        ("admin.health", &config.admin.health),
    ];
    let in_words = listen.into_iter().flat_map(|(key, listen)| addresses::advice(key, listen));
    let in_words = in_words
        .chain(nobody(config))
        .chain(misfits(config))
        .chain(namesakes(config))
        .chain(memory::advice(config));
    let in_words = in_words.map(|words| Fault::warning(&config.path, &words, None));
    let of_plugins = undescribed(config, plugins).into_iter().chain(undebugged(config, plugins));
    of_plugins.chain(dates::advice(config, now)).chain(in_words).collect()
}

/// Warns if the config names no client. Disabled clients are reported elsewhere.
fn nobody(config: &Config) -> Option<String> {
    let is_empty = config.clients.is_empty() && config.disabled.clients.is_empty();
    let words =
        "no client is named, so nobody can connect: `lictor client add NAME` adds one, with a certificate";
    is_empty.then(|| words.to_owned())
}

/// Warns of commands routed to a plugin that does not describe them: calls of them are likely to fail.
fn undescribed(config: &Config, plugins: &Plugins) -> Vec<Fault> {
    let mut found = Vec::new();
    for (name, plugin) in plugins.iter() {
        let section = config.plugins.get(name);
        let commands = section.map(|section| section.commands.as_slice()).unwrap_or_default();
        let described: Vec<&str> = plugin.commands().iter().map(|command| &*command.name).collect();
        for command in commands.iter().filter(|command| !described.contains(&command.as_ref())) {
            let words = format!("the plugin `{name}` serves `{command}`, which its `describe` does not name");
            // The default if no commands are configured.
            let is_own_name = commands.len() == 1 && command.as_ref() == name.as_ref();
            let help = match is_own_name && !described.is_empty() {
                true => format!("it describes others: write `commands = {described:?}` in [{}]", name.key()),
                false => config::instead_of_command(command.as_ref(), &described),
            };
            found.push(of_plugin(config, name, Fault::warning(&config.path, &words, Some(&help))));
        }
    }
    found
}

/// Warns of debug files that exist and are unusable.
fn undebugged(config: &Config, plugins: &Plugins) -> impl Iterator<Item = Fault> {
    plugins.iter().filter_map(|(name, plugin)| {
        let fault = plugin.debug_fault()?;
        let words = format!("the debug file of the plugin `{name}` is not used: {}", fault.what);
        Some(of_plugin(config, name, Fault::warning(&config.path, &words, Some(&fault.help))))
    })
}

/// Makes `fault` one of the section of the plugin `name`.
fn of_plugin(config: &Config, name: &PluginName, fault: Fault) -> Fault {
    match config.plugins.get(name) {
        Some(plugin) => fault.of(&plugin.place),
        None => fault,
    }
}

/// Warns of revocation lists that do not do what their file was named for.
fn misfits(config: &Config) -> impl Iterator<Item = String> {
    let authorities: Vec<_> = config.identity.authorities.iter().flat_map(|file| &file.authorities).collect();
    let files = config.identity.revocation_lists.iter();
    let lists = files.flat_map(|file| file.lists.iter().map(move |list| (&file.path, list)));
    lists.filter_map(move |(path, list)| {
        let misfit = list.misfit_of(&authorities)?;
        Some(format!("the revocation list of {} in {}: {misfit}", list.issuer(), path.display()))
    })
}

/// Warns of authorities that can vouch for nobody, and of authorities that share a name, if a revocation list
/// has that name too: only one of them can have signed it.
fn namesakes(config: &Config) -> impl Iterator<Item = String> {
    let authorities: Vec<_> = config.identity.authorities.iter().flat_map(|file| &file.authorities).collect();
    let lists: Vec<_> = config.identity.revocation_lists.iter().flat_map(|file| &file.lists).collect();
    authorities.clone().into_iter().enumerate().filter_map(move |(place, authority)| {
        let name = authority.name();
        if let Some(doubt) = authority.doubt() {
            return Some(format!("the authority {name} cannot certify anybody: {doubt}"));
        }
        let is_namesake = |other: &&&Authority| other.has_name_of(authority) && !other.has_key_of(authority);
        let is_listed = lists.iter().any(|list| list.is_of(authority));
        authorities[..place].iter().any(|other| is_namesake(&other)).then_some(())?;
        is_listed.then(|| {
            format!(
                "two authorities are named {name} and have different keys, and there is a revocation list of that name: clients \
                 of the one that did not sign it are refused; give the new authority another name, or leave the list out until \
                 the old one is gone"
            )
        })
    })
}

/// Logs warnings about a config that is, or is about to be, in force.
pub(super) fn log(warnings: &[Fault]) {
    for warning in warnings {
        tracing::warn!(target: "lictor::reload", warning = warning.line(), "a config warning");
    }
}
