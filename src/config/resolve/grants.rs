//! `[plugins.NAME.grants]`: checks that every resource exists, and leads to nothing the server keeps for
//! itself.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::folder::{Folder, Named};
use crate::authz::{self, Doubt, PermissionPattern, Permissions};
use crate::config::fields::{Field, Findings, List};
use crate::config::names::PluginName;
use crate::config::raw::{RawGrants, RawHttp, RawPlugin};
use crate::config::resources::StoreGrant;
use crate::config::suggestions::{closest, list};
use crate::config::values::PathText;
use crate::config::{Grants, HttpUrl, quoted};
use crate::files::{Fault, Opened, Reason, Reserved};

const GRANT_LESS: &str =
    "grant only the files that the plugin needs, in `files`; or a folder that holds nothing else";

/// Context for checking a grant.
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a Folder,
    /// The enabled plugins of the file.
    pub(super) plugins: &'a [PluginName],
    /// Its disabled plugin sections.
    pub(super) disabled: &'a [(Spanned<PluginName>, Spanned<RawPlugin>)],
    /// The files and folders reserved for the server.
    pub(super) reserved: &'a Reserved,
}

pub(super) fn resolve(
    plugin: &PluginName,
    raw: &RawGrants,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Grants {
    let at = format!("{}.grants", plugin.key());
    for store in items(&raw.keyvalue) {
        store_of_another(plugin, store, around, findings);
    }
    for pattern in items(&raw.commands) {
        warn_of_doubt(&at, pattern, findings);
        if pattern.get_ref().command().is_built_in() {
            built_in(&at, pattern, findings);
        }
    }
    Grants {
        logging: raw.logging.value().copied().unwrap_or_default(),
        keyvalue: listed(&raw.keyvalue, Clone::clone),
        commands: listed(&raw.commands, Clone::clone).map(Permissions::from_iter),
        files: raw
            .files
            .value()
            .map(|list| list.items.iter().map(|path| file(&at, path, around, findings)).collect()),
        directories: directories(&at, raw, around, findings),
        events: listed(&raw.events, Clone::clone),
        http: raw
            .http
            .value()
            .map(|list| list.items.iter().filter_map(|item| url(&at, item, findings)).collect()),
        is_written: true,
    }
}

fn url(at: &str, item: &Spanned<RawHttp>, findings: &mut Findings) -> Option<HttpUrl> {
    let table = match item.get_ref() {
        RawHttp::Url(url) => return Some(HttpUrl { url: url.0.clone(), networks: Vec::new() }),
        RawHttp::Table(table) => table,
    };
    if table.url.is_absent() {
        findings
            .error(format!("`{at}.http` holds a table without a URL"))
            .at(item.span(), "the URL that requests may go to is missing")
            .help("add `url`, such as url = \"https://db.internal\"")
            .done();
    }
    let networks = items(&table.networks).map(|item| item.get_ref().0).collect();
    Some(HttpUrl { url: table.url.value()?.0.clone(), networks })
}

fn items<T>(field: &Field<List<T>>) -> impl Iterator<Item = &Spanned<T>> {
    field.value().into_iter().flat_map(|list| &list.items)
}

/// Maps the items of a list that was written, empty or not; `None` if it was not.
fn listed<T, U>(field: &Field<List<T>>, each: impl Fn(&T) -> U) -> Option<Vec<U>> {
    field.value().map(|list| list.items.iter().map(|item| each(item.get_ref())).collect())
}

fn store_of_another(
    plugin: &PluginName,
    grant: &Spanned<StoreGrant>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) {
    let plugins = around.plugins;
    let Some(owner) = &grant.get_ref().plugin else { return };
    if owner == plugin {
        findings
            .error(format!("`{}` is the plugin's own store", grant.get_ref()))
            .at(grant.span(), "a plugin's own stores are written without its name")
            .help(format!("write \"{}\"", grant.get_ref().store))
            .done();
    } else if around.disabled.iter().any(|(name, _)| name.get_ref() == owner) {
        findings
            .warning(format!("`{}` is a store of a plugin that is switched off", grant.get_ref()))
            .at(grant.span(), "its contents stay unchanged")
            .help(format!("write `enabled = true` in [{}], or leave this out", owner.key()))
            .done();
    } else if !plugins.contains(owner) {
        let known: Vec<&str> = plugins.iter().map(AsRef::as_ref).collect();
        findings
            .error(format!("`{}` is a store of a plugin that does not exist", grant.get_ref()))
            .at(grant.span(), format!("there is no `{}`", owner.key()))
            .helps(
                closest(owner.as_ref(), known.iter().copied())
                    .map(|meant| format!("did you mean `{meant}`?")),
            )
            .help(format!("plugins: {}", list(&known)))
            .done();
    }
}

/// Warns of a pattern in `commands` of the section `at` that says something else than it seems to.
pub(super) fn warn_of_doubt(at: &str, pattern: &Spanned<PermissionPattern>, findings: &mut Findings) {
    let Some(Doubt { what, meant, as_is }) = authz::doubt(pattern.get_ref()) else { return };
    findings
        .warning(format!("`{at}.commands` holds a pattern that may not mean what was meant"))
        .at(pattern.span(), what)
        .helps(meant.map(|meant| format!("did you mean {}?", quoted(&meant))))
        .help(format!("if it is meant as it stands, write {}", quoted(&as_is)))
        .done();
}

fn built_in(at: &str, pattern: &Spanned<PermissionPattern>, findings: &mut Findings) {
    findings
        .error(format!(
            "`{at}.commands` holds `{}`, a command of the server's own",
            pattern.get_ref().command()
        ))
        .at(pattern.span(), "plugins can run only plugins' commands")
        .help("leave it out")
        .done();
}

/// Resolves a granted file. A missing file is only a warning, since another program may write it later. So is
/// one that another user has replaced: nobody else may keep a config from loading.
fn file(
    at: &str,
    path: &Spanned<PathText>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> (String, PathBuf) {
    let found = around.folder.path(path);
    let shown = path.get_ref().0.display().to_string();
    let key = &format!("{at}.files");
    let fault = match Opened::file(&found) {
        Ok(opened) => {
            withhold(key, path, &opened, around, findings);
            return (shown, found);
        }
        Err(fault) => fault,
    };
    // Without the file, only the path can tell whether it is reserved.
    let what = around.reserved.withholds_missing(&found).filter(|_| !fault.is_strangers_work());
    match what {
        Some(what) => withheld(key, path.span(), (what, GRANT_LESS), findings),
        None if may_change(&fault) => unreadable(key, path, &fault, findings),
        None => Named { key, path, remedy: "name a plain file" }.report_fault(&fault, findings),
    }
    (shown, found)
}

/// Returns true if the fault may come from others or pass by itself, rather than from the operator's config.
fn may_change(fault: &Fault) -> bool {
    match fault.reason {
        Reason::Folder | Reason::NotPlain => fault.is_strangers_work(),
        _ => true,
    }
}

fn unreadable(key: &str, path: &Spanned<PathText>, fault: &Fault, findings: &mut Findings) {
    let shown = path.get_ref().0.display();
    findings
        .warning(format!("`{key}` names {shown}, which can't be read now: {}", fault.what()))
        .at(path.span(), told(fault))
        .helps(fault.advice())
        .done();
}

fn told(fault: &Fault) -> &'static str {
    match fault.reason {
        Reason::Missing => "the plugin gets `not-found` until it exists",
        Reason::NoFolder | Reason::NotFolder => "the plugin sees no such folder until it exists",
        Reason::Link { .. } => "the plugin can't read it until that link is removed",
        _ => "the plugin gets `unavailable` until it can be read",
    }
}

fn directories(
    at: &str,
    raw: &RawGrants,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<(String, PathBuf)> {
    let key = &format!("{at}.directories");
    let entries = raw.directories.value().into_iter().flat_map(|named| &named.entries);
    let granted = entries.map(|(name, path)| {
        let found = around.folder.path(path);
        match Opened::folder(&found) {
            Ok(opened) => withhold(key, path, &opened, around, findings),
            Err(fault) if fault.is_strangers_work() => unreadable(key, path, &fault, findings),
            Err(fault) => Named { key, path, remedy: "make the folder" }.report_fault(&fault, findings),
        }
        (name.get_ref().0.clone(), found)
    });
    granted.collect()
}

/// Checks whether a granted file or folder is one that no plugin may read. If others may have put it there,
/// by a hard link or under another name, that is a warning: the check is repeated at each open.
fn withhold(
    key: &str,
    path: &Spanned<PathText>,
    opened: &Opened,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) {
    let Some(what) = around.reserved.withholds(opened) else { return };
    if !opened.is_on_loose_way() {
        return withheld(key, path.span(), (what, GRANT_LESS), findings);
    }
    findings
        .warning(format!(
            "`{key}` leads, through something that other users may have put there, to a path that no plugin may read: {what}"
        ))
        .at(path.span(), "the plugin can't read it until it is replaced")
        .help("find out who put it there")
        .done();
}

/// Reports a path that leads to what is reserved for the server.
pub(super) fn withheld(key: &str, span: Range<usize>, (what, help): (&str, &str), findings: &mut Findings) {
    findings
        .error(format!("`{key}` leads to a path that no plugin may read: {what}"))
        .at(span, format!("this is, or holds, {what}"))
        .help(help)
        .done();
}
