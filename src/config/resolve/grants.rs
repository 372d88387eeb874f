//! `[plugins.NAME.grants]`: what is named is there, and leads to nothing that the server keeps for itself.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::{Folder, report_file};
use crate::config::files;
use crate::config::given::{Field, Findings, List};
use crate::config::keys::{closest, list};
use crate::config::names::{CommandPattern, PluginName, Refusal};
use crate::config::raw::{RawGrants, RawHttp};
use crate::config::reach::StoreGrant;
use crate::config::values::PathText;
use crate::config::{Grants, HttpUrl};

/// What a grant is checked against.
pub(super) struct Surroundings<'a> {
    pub(super) folder: &'a Folder,
    /// The plugins that the file names.
    pub(super) plugins: &'a [PluginName],
    /// Files and folders that are the server's alone, and what each is.
    pub(super) private: &'a [(PathBuf, &'static str)],
}

pub(super) fn resolve(
    plugin: &PluginName,
    raw: &RawGrants,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Grants {
    let at = format!("plugins.{plugin}.grants");
    for store in items(&raw.keyvalue) {
        store_of_another(plugin, store, around.plugins, findings);
    }
    for pattern in items(&raw.commands).filter(|pattern| pattern.get_ref().is_built_in()) {
        built_in(&at, pattern, findings);
    }
    Grants {
        logging: raw.logging.value().copied().unwrap_or_default(),
        keyvalue: listed(&raw.keyvalue, Clone::clone),
        commands: listed(&raw.commands, Clone::clone),
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
            .at(item.span(), "nothing says where requests may go")
            .help("add `url`, such as url = \"https://db.internal\"")
            .done();
    }
    let networks = items(&table.networks).map(|item| item.get_ref().0).collect();
    Some(HttpUrl { url: table.url.value()?.0.clone(), networks })
}

fn items<T>(field: &Field<List<T>>) -> impl Iterator<Item = &Spanned<T>> {
    field.value().into_iter().flat_map(|list| &list.items)
}

/// What a list that is written comes to, empty or not.
fn listed<T, U>(field: &Field<List<T>>, each: impl Fn(&T) -> U) -> Option<Vec<U>> {
    field.value().map(|list| list.items.iter().map(|item| each(item.get_ref())).collect())
}

fn store_of_another(
    plugin: &PluginName,
    grant: &Spanned<StoreGrant>,
    plugins: &[PluginName],
    findings: &mut Findings,
) {
    let Some(owner) = &grant.get_ref().plugin else { return };
    if owner == plugin {
        findings
            .error(format!("`{}` is the plugin's own store", grant.get_ref()))
            .at(grant.span(), "own stores have no plugin in front")
            .help(format!("write \"{}\"", grant.get_ref().store))
            .done();
    } else if !plugins.contains(owner) {
        let known: Vec<&str> = plugins.iter().map(AsRef::as_ref).collect();
        findings
            .error(format!("`{}` is a store of a plugin that is not there", grant.get_ref()))
            .at(grant.span(), format!("there is no `plugins.{owner}`"))
            .helps(
                closest(owner.as_ref(), known.iter().copied())
                    .map(|meant| format!("did you mean `{meant}`?")),
            )
            .help(format!("plugins: {}", list(&known)))
            .done();
    }
}

fn built_in(at: &str, pattern: &Spanned<CommandPattern>, findings: &mut Findings) {
    findings
        .error(format!("`{at}.commands` holds `{}`, a command of the server's own", pattern.get_ref()))
        .at(pattern.span(), "plugins run plugins' commands only")
        .help("leave it out")
        .done();
}

/// A granted file. It may come later, as a file that another program writes does; then a warning says so.
fn file(
    at: &str,
    path: &Spanned<PathText>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> (String, PathBuf) {
    let found = around.folder.path(path.get_ref());
    let shown = path.get_ref().0.display().to_string();
    match files::exists(&found) {
        Err(refusal) if !found.exists() => findings
            .warning(format!("`{at}.files` names {shown}, which can't be read now: {}", refusal.what))
            .at(path.span(), "the plugin is told `not-found` until it is there")
            .done(),
        Err(refusal) => {
            report_file(&format!("{at}.files"), path, Err(refusal), "name a plain file", findings)
        }
        Ok(_) => {
            if let Some(what) = kept(&found, around.private, |file, kept| file.starts_with(kept)) {
                withheld(&format!("{at}.files"), path, what, findings);
            }
        }
    }
    (shown, found)
}

fn directories(
    at: &str,
    raw: &RawGrants,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Vec<(String, PathBuf)> {
    let at = format!("{at}.directories");
    let entries = raw.directories.value().into_iter().flat_map(|named| &named.entries);
    let granted = entries.map(|(name, path)| {
        let found = around.folder.path(path.get_ref());
        let overlaps = |folder: &Path, kept: &Path| folder.starts_with(kept) || kept.starts_with(folder);
        if !found.is_dir() {
            let refusal = if found.exists() { "this is not a folder" } else { "there is no such folder" };
            report_file(&at, path, Err(Refusal::new(refusal)), "make the folder", findings);
        } else if let Some(what) = kept(&found, around.private, overlaps) {
            withheld(&at, path, what, findings);
        }
        (name.get_ref().0.clone(), found)
    });
    granted.collect()
}

/// Places where the kernel shows every process's memory, or its devices: whoever reads there reads the server's keys.
const OF_THE_KERNEL: [(&str, &str); 3] = [
    ("/proc/self", "the server's own process"),
    ("/dev", "the machine's devices"),
    ("/proc/kcore", "the machine's memory"),
];

/// What of the server's or the kernel's own things the existing `path` leads to, if it `touches` one.
fn kept(
    path: &Path,
    private: &[(PathBuf, &'static str)],
    touches: impl Fn(&Path, &Path) -> bool,
) -> Option<&'static str> {
    let real = path.canonicalize().ok()?;
    let of_a_process = || {
        let mut parts = real.components().skip(1).map(|part| part.as_os_str().to_string_lossy());
        let is_process = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        (parts.next()? == "proc" && is_process(&parts.next()?)).then_some("a process")
    };
    let kernel = OF_THE_KERNEL.iter().map(|(kept, what)| (PathBuf::from(kept), *what));
    let mut all = kernel.chain(private.iter().cloned());
    let named = all.find(|(kept, _)| touches(&real, &kept.canonicalize().unwrap_or_else(|_| kept.clone())));
    // `/proc/self` is a link to the process that asks, so that a folder above it is found by its name.
    let above = || (Path::new("/proc/self").starts_with(&real) && real.is_dir()).then_some("every process");
    named.map(|(_, what)| what).or_else(of_a_process).or_else(above)
}

fn withheld(key: &str, path: &Spanned<PathText>, what: &str, findings: &mut Findings) {
    findings
        .error(format!("`{key}` leads to what no plugin may read: {what}"))
        .at(path.span(), format!("this is, or holds, {what}"))
        .help("grant only the files that the plugin needs, in `files`; or a folder that holds nothing else")
        .done();
}
