//! The fit of a component's imports and exports with its world and its grants, and words for each misfit.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{ComponentTypeRef, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::plugin::host::INTERFACES;
use crate::plugin::host::grants::Grants;
use crate::plugin::host::interface::{GRANTS_TABLE, Interface};
use crate::plugin::world::{PACKAGE, World, split_version, walk};
use crate::text::{Shown, shown};

/// The version of [`PACKAGE`] that this host has.
const VERSION: (u64, u64, u64) = (0, 1, 0);

/// Checks that the imports of the component in `bytes` are granted, before it is compiled: compiling may take
/// minutes, which an operator who forgot a grant should not have to wait. `key` is the plugin's in the
/// config.
pub(in crate::plugin) fn check_imports(bytes: &[u8], key: &str, grants: &Grants) -> Result<(), String> {
    let mut misfits = Vec::new();
    walk(bytes, |payload| {
        if let Payload::ComponentImportSection(section) = payload {
            let imports = section.clone().into_iter().map_while(Result::ok);
            let interfaces = imports.filter(|import| matches!(import.ty, ComponentTypeRef::Instance(_)));
            let names: Vec<&str> = interfaces.map(|import| import.name.name).collect();
            misfits.extend(names.into_iter().filter(|name| !fits(name, grants)).map(str::to_owned));
            misfits.truncate(MAX_TOLD_IMPORTS);
        }
    });
    let misfits: Vec<&str> = misfits.iter().map(String::as_str).collect();
    // Anything else is for the author to mend, who is told of the exports as well.
    match misfits.iter().any(|import| matches!(standing(import), Standing::ByGrant(_))) {
        true => Err(import_misfits(&misfits, key, grants).join("\n")),
        false => Ok(()),
    }
}

/// Returns true if a plugin with `grants` may import `import`.
fn fits(import: &str, grants: &Grants) -> bool {
    match standing(import) {
        Standing::Missing(_) => false,
        Standing::AlwaysThere | Standing::ByGrant(_) => {
            interface(import).is_some_and(|interface| interface.is_granted(grants))
        }
    }
}

/// A plugin's right to import something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every plugin may.
    AlwaysThere,
    /// Needs these lines below the plugin's section; `NAME` is its name.
    ByGrant(&'static str),
    /// No plugin may, for this reason.
    Missing(String),
}

/// Most imports that are reported as misfits: a component may have a hundred thousand.
const MAX_TOLD_IMPORTS: usize = 16;

/// Checks the names of the imports and exports of `component`; describes each misfit and its remedy.
///
/// `key` is that of the plugin's section in the config, for the lines to add there.
pub(in crate::plugin) fn misfits(
    component: &Component,
    engine: &Engine,
    world: World,
    key: &str,
    grants: &Grants,
) -> Vec<String> {
    let types = component.component_type();
    let imports: Vec<&str> = types.imports(engine).map(|(import, _)| import).collect();
    let exports: Vec<String> = types.exports(engine).map(|(name, _)| name.to_owned()).collect();
    import_misfits(&imports, key, grants).into_iter().chain(export_misfit(world, &exports)).collect()
}

/// Returns a line for each import that nothing grants, and one for all that are not granted, so that the
/// lines to add appear once.
fn import_misfits(imports: &[&str], key: &str, grants: &Grants) -> Vec<String> {
    let missing = imports.iter().filter_map(|import| match standing(import) {
        Standing::Missing(reason) => Some(format!("it imports {}, {reason}", name(import))),
        Standing::AlwaysThere | Standing::ByGrant(_) => None,
    });
    let ungranted = imports.iter().filter(|import| !fits(import, grants));
    let ungranted = ungranted.filter_map(|import| match standing(import) {
        Standing::ByGrant(lines) => Some((name(import).to_string(), lines)),
        Standing::AlwaysThere | Standing::Missing(_) => None,
    });
    let (names, lines): (Vec<_>, Vec<_>) = ungranted.take(MAX_TOLD_IMPORTS).unzip();
    let ungranted = names.split_last().map(|(last, others)| {
        let (names, are, them) = match others {
            [] => (last.clone(), "is", "it"),
            _ => (format!("{} and {last}", others.join(", ")), "are", "them"),
        };
        let add = to_add(&grant_lines(lines), grants).replace("plugins.NAME", key);
        format!("it imports {names}, which {are} not granted to it; to grant {them}, {add}")
    });
    missing.take(MAX_TOLD_IMPORTS).chain(ungranted).collect()
}

/// Tells the operator how to add `lines` of [`grant_lines`]. An existing table can't be written a second
/// time.
fn to_add(lines: &[&str], grants: &Grants) -> String {
    let table = lines.iter().position(|line| *line == GRANTS_TABLE);
    let Some(table) = table.filter(|_| grants.is_written) else {
        return format!("add:\n{}", lines.join("\n"));
    };
    let before = match &lines[..table] {
        [] => String::new(),
        others => format!("add:\n{}\nand ", others.join("\n")),
    };
    format!("{before}add to {GRANTS_TABLE}:\n{}", lines[table + 1..].join("\n"))
}

/// Merges the lines of several grants into one text: each table once, with its keys.
#[must_use]
pub fn grant_lines(grants: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
    let mut tables = BTreeMap::<&str, BTreeSet<&str>>::new();
    for grant in grants {
        let mut lines = grant.lines();
        tables.entry(lines.next().unwrap_or_default()).or_default().extend(lines);
    }
    tables.into_iter().flat_map(|(table, keys)| [table].into_iter().chain(keys)).collect()
}

/// Makes the name of an import or export safe to show: its author may have put any character into it.
fn name(name: &str) -> Shown<'_> {
    const MAX_NAME_CHARS: usize = 256;
    shown(name, MAX_NAME_CHARS)
}

/// Returns a plugin's right to import `import`.
pub(in crate::plugin) fn standing(import: &str) -> Standing {
    let (name, version) = split_version(import);
    let Some(interface) = interface(import) else {
        return Standing::Missing(not_offered(name));
    };
    let (major, minor) = interface.version;
    match version {
        Some((a, b, _)) if (a, b) == (major, minor) => {
            interface.grant.map_or(Standing::AlwaysThere, |grant| Standing::ByGrant(grant.lines))
        }
        _ => Standing::Missing(format!(
            "but this host has {name}@{major}.{minor}; rebuild the plugin against that version"
        )),
    }
}

/// Returns the host's interface that serves `import`, if the version fits.
fn interface(import: &str) -> Option<&'static Interface> {
    let (name, _) = split_version(import);
    INTERFACES.iter().find(|interface| interface.names.contains(&name))
}

fn not_offered(name: &str) -> String {
    if name.starts_with("wasi:sockets/") {
        return "and plugins get no sockets; build it without networking".to_owned();
    }
    let (mut own, mut by_grant) = (Vec::<&str>::new(), Vec::<&str>::new());
    for interface in INTERFACES {
        match interface.grant {
            None => own.extend(interface.names),
            Some(_) => by_grant.extend(interface.names),
        }
    }
    own.retain(|name| name.starts_with(PACKAGE));
    format!(
        "which this host does not offer; it offers {} (of {}), WASI 0.2's cli, clocks, filesystem, io and random, which reach \
         nothing, and by grant {}",
        own.join(", "),
        shown_version(VERSION),
        by_grant.join(" and ")
    )
}

fn export_misfit(world: World, exports: &[String]) -> Option<String> {
    let wanted = format!("{PACKAGE}/{}", world.commands());
    let found = exports.iter().find(|export| split_version(export).0 == wanted);
    let of_plain = format!("{PACKAGE}/{}", World::Plugin.commands());
    match found.map(|export| (export, split_version(export).1)) {
        Some((export, _))
            if world == World::StreamingPlugin
                && exports.iter().any(|export| split_version(export).0 == of_plain) =>
        {
            Some(format!("it exports {} and {of_plain}; a plugin has one of the two", name(export)))
        }
        Some((_, Some((0, 1, _)))) => None,
        Some((export, _)) => Some(format!(
            "it exports {}, but this host runs {wanted}@{}; rebuild the plugin against that version of wit/",
            name(export),
            shown_version(VERSION)
        )),
        None => Some(format!(
            "it does not export {wanted}@{}, so it has no commands; it exports {}. Build it against `world plugin` of wit/",
            shown_version(VERSION),
            if exports.is_empty() { "nothing".to_owned() } else { name(&exports.join(", ")).to_string() }
        )),
    }
}

fn shown_version((major, minor, patch): (u64, u64, u64)) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests;
