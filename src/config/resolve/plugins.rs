//! `[plugins]`: each plugin within its bounds, and each command served by one plugin.
//!
//! Checks that a component exists; its content is the plugin module's concern.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use toml::Spanned;

use super::bounds::{held, optional};
use super::folder::{self, Folder};
use super::grants::{self, Surroundings};
use super::settings::{self, settings};
use crate::authz::PermissionPattern;
use crate::config::fields::{Field, Findings, List, Named};
use crate::config::files::Secrets;
use crate::config::limits::{self, FromAmount, Limits};
use crate::config::names::{CommandName, PluginName};
use crate::config::raw::{RawDisabled, RawPlugin};
use crate::config::suggestions::{closest, list};
use crate::config::{Plugin, State};
use crate::files::{Reserved, debug_file};

/// The result of reading `[plugins]`.
pub(super) struct Resolved {
    pub(super) plugins: BTreeMap<PluginName, Plugin>,
    /// Every command that is served, including those of faulty plugins.
    commands: HashSet<CommandName>,
    /// The commands of disabled plugins.
    switched_off: BTreeMap<CommandName, PluginName>,
    /// True if `commands` is complete: none was left out as faulty.
    complete: bool,
}

impl Resolved {
    /// Warns of a pattern in `at` that matches no plugin's command. `*` alone also means future commands.
    /// `guess` is suggested in preference to a plugin's command.
    pub(super) fn warn_of_unserved(
        &self,
        at: &str,
        pattern: &Spanned<PermissionPattern>,
        guess: Option<&str>,
        findings: &mut Findings,
    ) {
        let wanted = pattern.get_ref().command();
        let fits = |command: &&CommandName| wanted.allows((*command).as_ref());
        let text = wanted.as_ref();
        if !self.complete || text == "*" || self.commands.iter().any(|command| fits(&command)) {
            return;
        }
        if let Some((command, plugin)) = self.switched_off.iter().find(|(command, _)| fits(command)) {
            findings
                .warning(format!(
                    "`{at}` holds `{text}`, and the plugin that serves `{command}` is switched off"
                ))
                .at(pattern.span(), "this allows nothing now")
                .help(format!("write `enabled = true` in [{}], or leave this out", plugin.key()))
                .done();
            return;
        }
        let mut known: Vec<&str> = self.commands.iter().map(CommandName::as_ref).collect();
        known.sort_unstable();
        let meant = guess.or_else(|| closest(text.trim_end_matches('*'), known.iter().copied()));
        let served = if known.is_empty() { "none".to_owned() } else { list(&known) };
        findings
            .warning(format!("`{at}` holds `{text}`, which no plugin serves"))
            .at(pattern.span(), "this allows nothing now")
            .helps(meant.map(|meant| format!("did you mean `{meant}`?")))
            .help(format!("plugins' commands: {served}"))
            .done();
    }
}

/// The rest of the file, as far as a plugin's section needs it.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) limits: &'a Limits,
    pub(super) state: &'a State,
    pub(super) folder: &'a Folder,
    pub(super) reserved: &'a Reserved,
    /// These without the files of plugins' secrets.
    pub(super) kept: &'a Reserved,
    pub(super) disabled: &'a RawDisabled,
    /// True if an unusable component is a fault of the config. False while another config is being served:
    /// rights that this config removes are removed before plugins load, and a missing component must not
    /// delay that. False also where no plugin will be loaded, such as when a client looks up its server.
    pub(super) loads_plugins: bool,
    pub(super) secrets: Secrets,
}

/// The plugin that serves each command, and the position that says so.
type Servers = HashMap<CommandName, (PluginName, Range<usize>)>;

pub(super) fn resolve(
    field: &Field<Named<PluginName, RawPlugin>>,
    whole: Whole<'_>,
    findings: &mut Findings,
) -> Resolved {
    let mut plugins = BTreeMap::new();
    let mut servers = Servers::new();
    let mut complete = !matches!(field, Field::Faulty);
    if let Some(named) = field.value() {
        complete &= named.whole;
        let names: Vec<PluginName> = named.entries.iter().map(|(name, _)| name.get_ref().clone()).collect();
        let around = Surroundings {
            folder: whole.folder,
            plugins: &names,
            disabled: &whole.disabled.plugins,
            reserved: whole.reserved,
        };
        for (name, raw) in &named.entries {
            complete &= match &raw.get_ref().commands {
                Field::Absent => true,
                Field::Faulty => false,
                Field::Given(list) => list.get_ref().whole,
            };
            let commands = commands(name, &raw.get_ref().commands, &mut servers, findings);
            if let Some(plugin) = plugin(name, raw, commands, (whole, &around), findings) {
                plugins.insert(name.get_ref().clone(), plugin);
            }
        }
    }
    let switched_off = whole.disabled.plugins.iter().flat_map(|(name, raw)| {
        let listed = listed(name, &raw.get_ref().commands);
        listed.into_iter().map(|(command, _)| (command, name.get_ref().clone()))
    });
    let switched_off = switched_off.collect();
    let resolved = Resolved { plugins, commands: servers.into_keys().collect(), switched_off, complete };
    for (name, raw) in field.value().into_iter().flat_map(|named| &named.entries) {
        let at = format!("{}.grants.commands", name.get_ref().key());
        let granted = raw.get_ref().grants.value().and_then(|grants| grants.commands.value());
        let patterns = granted.into_iter().flat_map(|list| &list.items);
        for pattern in patterns.filter(|pattern| !pattern.get_ref().command().is_built_in()) {
            resolved.warn_of_unserved(&at, pattern, None, findings);
        }
    }
    resolved
}

fn plugin(
    name: &Spanned<PluginName>,
    section: &Spanned<RawPlugin>,
    commands: Vec<CommandName>,
    (whole, around): (Whole<'_>, &Surroundings<'_>),
    findings: &mut Findings,
) -> Option<Plugin> {
    let raw = section.get_ref();
    let at = name.get_ref().key();
    component(&at, section, whole, findings);
    let timeout = held(&limits::PLUGIN_TIMEOUT, &at, &raw.timeout, findings);
    let memory_bytes = held(&limits::PLUGIN_MEMORY, &at, &raw.memory, findings);
    let reply_bytes = held(&limits::PLUGIN_REPLY, &at, &raw.reply, findings);
    let concurrency = concurrency(&at, &raw.concurrency, whole.limits, findings);
    let max_calls = held(&limits::PLUGIN_MAX_CALLS, &at, &raw.max_calls, findings);
    let idle = held(&limits::PLUGIN_IDLE_TIMEOUT, &at, &raw.idle_timeout, findings);
    let grants = raw.grants.value().map(|raw| grants::resolve(name.get_ref(), raw, around, findings));
    let cpu_time = optional(&limits::PLUGIN_CPU_TIME, &at, &raw.cpu_time, findings);
    let host_calls = held(&limits::PLUGIN_HOST_CALLS, &at, &raw.host_calls, findings);
    let host_bytes = held(&limits::PLUGIN_HOST_BYTES, &at, &raw.host_bytes, findings);
    let store_keys = optional(&limits::PLUGIN_STORE_KEYS, &at, &raw.store_keys, findings);
    let store_bytes = optional(&limits::PLUGIN_STORE_BYTES, &at, &raw.store_bytes, findings);
    let Whole { folder, kept, secrets, .. } = whole;
    let config = settings(&at, &raw.config, settings::Surroundings { folder, kept, secrets }, findings);
    Some(Plugin {
        place: findings.place(name.span().start),
        component: whole.folder.path(raw.component.given()?),
        sha256: raw.sha256.value().map(|digest| digest.0),
        commands,
        instances: raw.instances.value().copied().unwrap_or_default(),
        timeout,
        cpu_time,
        memory_bytes,
        reply_bytes,
        concurrency,
        max_calls,
        idle,
        host_calls,
        host_bytes,
        store_keys: store_keys.unwrap_or(whole.state.store_keys),
        store_bytes: store_bytes.unwrap_or(whole.state.store_bytes),
        config,
        grants: grants.unwrap_or_default(),
    })
}

fn component(at: &str, section: &Spanned<RawPlugin>, whole: Whole<'_>, findings: &mut Findings) {
    match &section.get_ref().component {
        Field::Faulty => {}
        Field::Absent if findings.is_misspelt(at, "component") => {}
        Field::Absent => findings
            .error(format!("`{at}` lacks its `component`"))
            .at(section.span(), "in this section")
            .help("write `component = \"plugins/NAME.wasm\"` here, with the path of the plugin's file")
            .done(),
        Field::Given(path) => {
            let key = &format!("{at}.component");
            let named = folder::Named { key, path, remedy: "build the plugin" };
            whole.folder.follow(&debug_file(&whole.folder.path(path)));
            if whole.loads_plugins {
                whole.folder.open(named, findings);
            } else {
                // Faults are reported when the component is loaded.
                let _ = whole.folder.look_at(named, findings);
            }
        }
    }
}

fn concurrency(at: &str, field: &Field<u64>, limits: &Limits, findings: &mut Findings) -> Option<u32> {
    let amount = limits::PLUGIN_CONCURRENCY.hold(at, field, findings)?;
    if let Some(given) = field.given().filter(|_| usize::from_amount(amount) > limits.concurrent_commands) {
        findings
            .warning(format!("`{at}.concurrency` is more than `limits.concurrent_commands`"))
            .at(given.span(), format!("no more than {} calls run at once", limits.concurrent_commands))
            .help("lower it, or raise `concurrent_commands`")
            .done();
    }
    Some(u32::from_amount(amount))
}

/// The commands listed in a section, or else the plugin's own name; each with its position.
fn listed(
    plugin: &Spanned<PluginName>,
    field: &Field<List<CommandName>>,
) -> Vec<(CommandName, Range<usize>)> {
    match field {
        Field::Faulty => Vec::new(),
        Field::Absent => vec![(CommandName::from(plugin.get_ref()), plugin.span())],
        Field::Given(list) => {
            list.get_ref().items.iter().map(|item| (item.get_ref().clone(), item.span())).collect()
        }
    }
}

/// The commands routed to the plugin: those listed, or else its own name. Reports duplicates.
fn commands(
    plugin: &Spanned<PluginName>,
    field: &Field<List<CommandName>>,
    servers: &mut Servers,
    findings: &mut Findings,
) -> Vec<CommandName> {
    let name = plugin.get_ref();
    if let Some(list) = field.given().filter(|list| list.get_ref().items.is_empty() && list.get_ref().whole) {
        findings
            .warning(format!("the plugin `{name}` can't be called"))
            .at(list.span(), "it serves no command")
            .help(format!("write [\"{name}\"], or leave `commands` out for the same effect"))
            .done();
    }
    let mut commands = Vec::new();
    for (command, span) in listed(plugin, field) {
        if let Some((other, earlier)) = servers.get(&command) {
            let (message, help) = if other == name {
                (format!("`{}.commands` holds a command twice", name.key()), "leave one out")
            } else {
                let message =
                    format!("the command `{command}` is served by two plugins, `{other}` and `{name}`");
                (message, "remove one of them, or give one of the plugins other `commands`")
            };
            findings.error(message).at(span, "and again here").at(earlier.clone(), "here").help(help).done();
            continue;
        }
        servers.insert(command.clone(), (name.clone(), span));
        commands.push(command);
    }
    commands
}
