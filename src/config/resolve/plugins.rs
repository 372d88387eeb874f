//! `[plugins]`: each plugin within its bounds, and each command served by one of them.
//!
//! Looks whether a component is there; what is in it is the plugin module's business.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use toml::Spanned;

use super::folder::{self, Folder};
use super::grants::{self, Surroundings};
use super::{held, optional};
use crate::config::given::{Field, Findings, List, Named};
use crate::config::limits::{self, FromAmount, Limits};
use crate::config::names::{CommandName, PluginName};
use crate::config::raw::RawPlugin;
use crate::config::{Plugin, State};
use crate::files::Reserved;

/// What `[plugins]` came to.
pub(super) struct Resolved {
    pub(super) plugins: BTreeMap<PluginName, Plugin>,
    /// Every command that is served, those of faulty plugins too.
    pub(super) commands: HashSet<CommandName>,
    /// Whether `commands` are all: none was left out as faulty.
    pub(super) complete: bool,
}

/// What a plugin's section is read with: what the rest of the file says.
#[derive(Clone, Copy)]
pub(super) struct Whole<'a> {
    pub(super) limits: &'a Limits,
    pub(super) state: &'a State,
    pub(super) folder: &'a Folder,
    pub(super) reserved: &'a Reserved,
}

/// The plugin that serves a command, and the place that says so.
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
        let around = Surroundings { folder: whole.folder, plugins: &names, reserved: whole.reserved };
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
    Resolved { plugins, commands: servers.into_keys().collect(), complete }
}

fn plugin(
    name: &Spanned<PluginName>,
    section: &Spanned<RawPlugin>,
    commands: Vec<CommandName>,
    (whole, around): (Whole<'_>, &Surroundings<'_>),
    findings: &mut Findings,
) -> Option<Plugin> {
    let raw = section.get_ref();
    let at = format!("plugins.{}", name.get_ref());
    component(&at, section, whole.folder, findings);
    let timeout = held(&limits::PLUGIN_TIMEOUT, &at, &raw.timeout, findings);
    let memory_bytes = held(&limits::PLUGIN_MEMORY, &at, &raw.memory, findings);
    let reply_bytes = held(&limits::PLUGIN_REPLY, &at, &raw.reply, findings);
    let concurrency = concurrency(&at, &raw.concurrency, whole.limits, findings);
    let max_calls = held(&limits::PLUGIN_MAX_CALLS, &at, &raw.max_calls, findings);
    let idle = held(&limits::PLUGIN_IDLE_TIMEOUT, &at, &raw.idle_timeout, findings);
    let config = raw.config.given().map(|given| {
        let entries = &given.get_ref().entries;
        entries.iter().map(|(key, value)| (key.get_ref().0.clone(), value.get_ref().0.clone())).collect()
    });
    let grants = raw.grants.value().map(|raw| grants::resolve(name.get_ref(), raw, around, findings));
    let cpu_time = optional(&limits::PLUGIN_CPU_TIME, &at, &raw.cpu_time, findings);
    let host_calls = held(&limits::PLUGIN_HOST_CALLS, &at, &raw.host_calls, findings);
    let host_bytes = held(&limits::PLUGIN_HOST_BYTES, &at, &raw.host_bytes, findings);
    let store_keys = optional(&limits::PLUGIN_STORE_KEYS, &at, &raw.store_keys, findings);
    let store_bytes = optional(&limits::PLUGIN_STORE_BYTES, &at, &raw.store_bytes, findings);
    Some(Plugin {
        component: whole.folder.path(raw.component.value()?),
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

fn component(at: &str, section: &Spanned<RawPlugin>, folder: &Folder, findings: &mut Findings) {
    match &section.get_ref().component {
        Field::Faulty => {}
        Field::Absent => findings
            .error(format!("`{at}` lacks its `component`"))
            .at(section.span(), "in this section")
            .help("write `component = \"plugins/NAME.wasm\"` here, with the path of the plugin's file")
            .done(),
        Field::Given(path) => {
            let key = &format!("{at}.component");
            folder.open(folder::Named { key, path, remedy: "build the plugin" }, findings);
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

/// The commands that go to the plugin: those listed, or its own name.
fn commands(
    plugin: &Spanned<PluginName>,
    field: &Field<List<CommandName>>,
    servers: &mut Servers,
    findings: &mut Findings,
) -> Vec<CommandName> {
    let name = plugin.get_ref();
    let listed = match field {
        Field::Faulty => Vec::new(),
        Field::Absent => vec![(CommandName::from(name), plugin.span())],
        Field::Given(list) => {
            if list.get_ref().items.is_empty() && list.get_ref().whole {
                findings
                    .warning(format!("the plugin `{name}` can't be called"))
                    .at(list.span(), "it serves no command")
                    .help(format!("write [\"{name}\"], or leave `commands` out to the same effect"))
                    .done();
            }
            list.get_ref().items.iter().map(|item| (item.get_ref().clone(), item.span())).collect()
        }
    };
    let mut commands = Vec::new();
    for (command, span) in listed {
        if let Some((other, earlier)) = servers.get(&command) {
            let (message, help) = if other == name {
                (format!("`plugins.{name}.commands` holds a command twice"), "leave one out")
            } else {
                let message =
                    format!("the command `{command}` is served by two plugins, `{other}` and `{name}`");
                (message, "let one of them go, or give one of the plugins other `commands`")
            };
            findings.error(message).at(span, "and again here").at(earlier.clone(), "here").help(help).done();
            continue;
        }
        servers.insert(command.clone(), (name.clone(), span));
        commands.push(command);
    }
    commands
}
