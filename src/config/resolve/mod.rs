//! From the file as written to a [`Config`]: defaults, ranges, and checks between parts of the file.
//!
//! Reads the certificates that the file names, and checks that its other files exist. Opens no socket, loads
//! no plugin, and continues after a fault so that one run shows all of them.

mod admin;
mod bounds;
mod clients;
mod folder;
mod grants;
mod identity;
mod include;
mod listen;
mod permissions;
mod plugins;
mod server;
mod settings;
mod state;
mod telemetry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

pub(super) use self::folder::look_at_file;
pub(super) use self::include::{included_files, included_path};

use self::bounds::held;
use self::folder::Folder;
use self::grants::Surroundings;
use self::permissions::{Roles, warn_of_unused};
use self::plugins::Whole;
use self::settings::secret_files;
use super::entries::entries;
use super::fields::{Field, Findings, Named};
use super::files::{Reading, Secrets};
use super::kept::{kept, with_secrets};
use super::limits;
use super::model::{Config, Disabled, Grants, Log, Protocol};
use super::names::PluginName;
use super::raw::{RawConfig, RawDisabled, RawGrants, RawLog};
use super::secret::RawSetting;
use super::setting::Setting;
use super::values::{PathText, SettingName};
use crate::files::{Authors, Reserved, Sightings};

/// Builds the config that `raw` describes. `None` or reported faults mean that it may not be served. Every
/// file it names is recorded in `sightings`.
pub(super) fn resolve(
    path: &Path,
    mut raw: RawConfig,
    reading: Reading<'_>,
    (sightings, findings): (&mut Sightings, &mut Findings),
) -> Option<Config> {
    let files = include::read(path, &mut raw, reading, (sightings, findings));
    let disabled = raw.take_disabled();
    let raw = &raw;
    let folder = Folder::of(findings, reading.authors);
    let server = server::resolve(&raw.server, &folder, findings);
    let limits = bounds::limits(&raw.limits, findings);
    let log = log(raw.log.value().unwrap_or(&RawLog::default()), findings);
    let state = state::resolve(&raw.state, &folder, findings);
    let admin = admin::resolve(&raw.admin, &raw.server, &folder, findings);
    let certificates = certificates(raw).map(|path| folder.path(path)).collect::<Vec<_>>();
    let disabled_config = switched_off(&disabled, &folder);
    let all_plugins = enabled(&raw.plugins).chain(&disabled.plugins).map(|(_, plugin)| plugin.get_ref());
    let certificates = certificates.iter().chain(disabled_config.clients.values().flatten());
    let configs = std::iter::once(path).chain(files.paths.iter().map(PathBuf::as_path));
    let kept = kept((configs, &files.patterns), server.as_ref(), &state, certificates);
    let reserved = with_secrets(&kept, secret_files(all_plugins, &folder).into_iter());
    if let Some(running) = reading.running {
        kept.extend(&running.kept());
        reserved.extend(&running.reserved());
    }
    let whole = Whole {
        limits: &limits,
        state: &state,
        folder: &folder,
        reserved: &reserved,
        kept: &kept,
        disabled: &disabled,
        loads_plugins: reading.running.is_none() && reading.authors == Authors::Trusted,
        secrets: reading.secrets,
    };
    let plugins = plugins::resolve(&raw.plugins, whole, findings);
    state::warn_of_forgetting(&raw.state, &raw.plugins, findings);
    let identity = identity::resolve(&raw.identity, &raw.clients, &folder, findings);
    let beside =
        clients::Beside { server: server.as_ref(), identity: &identity, limits: (&raw.limits, &limits) };
    let roles = Roles::resolve(&raw.roles, &plugins, findings);
    let clients = clients::resolve(&raw.clients, &raw.identity, beside, &roles, &folder, findings);
    let all_clients = enabled(&raw.clients).chain(&disabled.clients).map(|(_, client)| client.get_ref());
    warn_of_unused(&raw.roles, all_clients, findings);
    sightings.extend(folder.into_sightings());
    Some(Config {
        telemetry: telemetry::resolve(&raw.telemetry, &raw.roles, findings),
        path: path.to_owned(),
        included: files.paths,
        patterns: files.patterns,
        server: server?,
        protocol: protocol(raw),
        identity,
        limits,
        log,
        roles: roles.roles,
        clients,
        plugins: plugins.plugins,
        state,
        admin,
        disabled: disabled_config,
        entries: entries(raw, findings),
    })
}

/// Resolves the settings and grants that a script gives the plugin `name`, one of `plugins`.
pub(super) fn granted_as_in_config(
    (name, plugins): (&PluginName, &[PluginName]),
    (config, grants): (&Field<Named<SettingName, RawSetting>>, &Field<RawGrants>),
    findings: &mut Findings,
) -> (Option<BTreeMap<String, Setting>>, Grants) {
    let (folder, reserved) = (Folder::of(findings, Authors::Anybody), Reserved::default());
    let around = Surroundings { folder: &folder, plugins, disabled: &[], reserved: &reserved };
    let around_settings =
        settings::Surroundings { folder: &folder, kept: &reserved, secrets: Secrets::Needed };
    let settings = settings::settings(&name.key(), config, around_settings, findings);
    let grants = grants.value().map(|raw| grants::resolve(name, raw, &around, findings));
    (settings, grants.unwrap_or_default())
}

fn switched_off(disabled: &RawDisabled, folder: &Folder) -> Disabled {
    let clients = disabled.clients.iter().map(|(name, raw)| {
        let certificates = raw.get_ref().certificates.value().into_iter().flat_map(|list| &list.items);
        (name.get_ref().clone(), certificates.map(|path| folder.path(path)).collect())
    });
    let plugins = disabled
        .plugins
        .iter()
        .map(|(name, raw)| (name.get_ref().clone(), secret_files(std::iter::once(raw.get_ref()), folder)));
    Disabled { clients: clients.collect(), plugins: plugins.collect() }
}

/// The entries of a table that are not disabled.
fn enabled<K, V>(field: &Field<Named<K, V>>) -> impl Iterator<Item = &(Spanned<K>, Spanned<V>)> {
    field.value().into_iter().flat_map(|named| &named.entries)
}

/// The certificate files of authorities and clients.
fn certificates(raw: &RawConfig) -> impl Iterator<Item = &Spanned<PathText>> {
    let clients = enabled(&raw.clients).filter_map(|(_, client)| client.get_ref().certificates.value());
    let authorities = raw.identity.value().and_then(|identity| identity.authorities.value());
    clients.chain(authorities).flat_map(|list| &list.items)
}

fn protocol(raw: &RawConfig) -> Protocol {
    let close_on_error = raw.protocol.value().and_then(|raw| raw.close_on_error.value());
    Protocol { close_on_error: close_on_error.copied().unwrap_or_default() }
}

fn log(raw: &RawLog, findings: &mut Findings) -> Log {
    Log {
        level: raw.level.value().copied().unwrap_or_default(),
        format: raw.format.value().copied().unwrap_or_default(),
        arguments: raw.arguments.value().copied().unwrap_or_default(),
        commands_per_second: held(&limits::COMMANDS_PER_SECOND, "log", &raw.commands_per_second, findings),
    }
}
