//! `[roles]`, and the commands that each client may run, by its own patterns and by its roles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use toml::Spanned;

use super::grants::warn_of_doubt;
use super::plugins::Resolved;
use crate::authz::{PermissionPattern, Permissions};
use crate::config::fields::{Field, Findings, List, Named};
use crate::config::names::{BUILT_INS, ClientName, RoleName};
use crate::config::raw::{RawClient, RawRole};
use crate::config::suggestions::{closest, list};
use crate::config::{Placed, Role};

/// The roles of the file, and the plugins whose commands they name.
pub(super) struct Roles<'a> {
    pub(super) roles: BTreeMap<RoleName, Role>,
    plugins: &'a Resolved,
    /// True if none was left out as faulty.
    whole: bool,
}

/// The permissions of a client.
pub(super) struct Granted {
    pub(super) roles: Vec<RoleName>,
    pub(super) commands: Vec<Placed<PermissionPattern>>,
    pub(super) permissions: Permissions,
    /// True if one of the roles has the client's `traceparent` believed.
    pub(super) trace: bool,
}

impl<'a> Roles<'a> {
    /// Resolves `[roles]`.
    pub(super) fn resolve(
        field: &Field<Named<RoleName, RawRole>>,
        plugins: &'a Resolved,
        findings: &mut Findings,
    ) -> Self {
        let whole = field.value().map_or(field.is_absent(), |named| named.whole);
        let mut roles = BTreeMap::new();
        for (name, raw) in field.value().into_iter().flat_map(|named| &named.entries) {
            let given = &raw.get_ref().commands;
            let trace = raw.get_ref().trace.value().copied().unwrap_or_default();
            if given.has_none() && !trace && !findings.is_misspelt(&name.get_ref().key(), "commands") {
                findings
                    .warning(format!("the role `{}` allows nothing", name.get_ref()))
                    .at(given.given().map_or_else(|| raw.span(), Spanned::span), "only listed commands are allowed")
                    .help("write the commands that its clients may run, such as `commands = [\"echo\", \"@ping\"]`")
                    .done();
            }
            let commands = patterns(&name.get_ref().key(), given, plugins, findings);
            let place = findings.place(name.span().start);
            roles.insert(name.get_ref().clone(), Role { commands, trace, place });
        }
        Self { roles, plugins, whole }
    }

    /// Resolves the permissions of the client `name`.
    pub(super) fn granted(
        &self,
        name: &ClientName,
        section: &Spanned<RawClient>,
        findings: &mut Findings,
    ) -> Granted {
        let raw = section.get_ref();
        let is_told = ["commands", "roles"].iter().any(|key| findings.is_misspelt(&name.key(), key));
        if raw.commands.has_none() && raw.roles.has_none() && !is_told {
            let given = raw.commands.given().map(Spanned::span);
            findings
                .warning(format!("the client `{name}` may run nothing"))
                .at(given.unwrap_or_else(|| section.span()), "only listed commands are allowed")
                .help("write the commands that it may run, such as `commands = [\"echo\", \"@ping\"]`")
                .done();
        }
        let commands = patterns(&name.key(), &raw.commands, self.plugins, findings);
        let roles = self.known(name, &raw.roles, findings);
        let own_roles = || roles.iter().filter_map(|role| self.roles.get(role));
        let of_roles = own_roles().flat_map(|role| &role.commands);
        let permissions = commands.iter().chain(of_roles).map(|placed| placed.value.clone()).collect();
        let trace = own_roles().any(|role| role.trace);
        Granted { roles, commands, permissions, trace }
    }

    /// Returns the roles that a client names, each once. Reports the others.
    fn known(
        &self,
        client: &ClientName,
        field: &Field<List<RoleName>>,
        findings: &mut Findings,
    ) -> Vec<RoleName> {
        let mut named: HashMap<&RoleName, Range<usize>> = HashMap::new();
        let mut known = Vec::new();
        for role in field.value().into_iter().flat_map(|list| &list.items) {
            if let Some(earlier) = named.get(role.get_ref()) {
                findings
                    .error(format!("`{}.roles` names a role twice", client.key()))
                    .at(role.span(), "and again here")
                    .at(earlier.clone(), "here")
                    .help("leave one out")
                    .done();
                continue;
            }
            named.insert(role.get_ref(), role.span());
            if self.roles.contains_key(role.get_ref()) {
                known.push(role.get_ref().clone());
            } else if self.whole {
                self.report_unknown(client, role, findings);
            }
        }
        known
    }

    fn report_unknown(&self, client: &ClientName, role: &Spanned<RoleName>, findings: &mut Findings) {
        let names: Vec<&str> = self.roles.keys().map(AsRef::as_ref).collect();
        let meant = closest(role.get_ref().as_ref(), names.iter().copied());
        let all = if names.is_empty() {
            format!("define it: [{}] with `commands`", role.get_ref().key())
        } else {
            format!("roles: {}", list(&names))
        };
        findings
            .error(format!("`{}.roles` names `{}`, a role that does not exist", client.key(), role.get_ref()))
            .at(role.span(), format!("there is no `{}`", role.get_ref().key()))
            .helps(meant.map(|meant| format!("did you mean `{meant}`?")))
            .help(all)
            .done();
    }
}

/// Warns of roles that none of `clients` has.
pub(super) fn warn_of_unused<'c>(
    roles: &Field<Named<RoleName, RawRole>>,
    clients: impl Iterator<Item = &'c RawClient>,
    findings: &mut Findings,
) {
    let lists = clients.filter_map(|client| client.roles.value());
    let entries = || roles.value().into_iter().flat_map(|named| &named.entries);
    let names: Vec<&str> = entries().map(|(name, _)| name.get_ref().as_ref()).collect();
    let used = lists.flat_map(|list| &list.items).map(|role| role.get_ref().as_ref());
    // A role that was probably meant by an unknown one is told with that one.
    let used: BTreeSet<&str> = used
        .map(|role| match names.contains(&role) {
            true => role,
            false => closest(role, names.iter().copied()).unwrap_or(role),
        })
        .collect();
    for (name, _) in entries().filter(|(name, _)| !used.contains(name.get_ref().as_ref())) {
        let name_text = name.get_ref();
        findings
            .warning(format!("no client has the role `{name_text}`"))
            .at(name.span(), "this allows nothing now")
            .help(format!("write `roles = [\"{name_text}\"]` in a client's section, or leave the role out"))
            .done();
    }
}

/// Returns the patterns of `commands` in the section `at`, checked against the commands that exist.
fn patterns(
    at: &str,
    field: &Field<List<PermissionPattern>>,
    plugins: &Resolved,
    findings: &mut Findings,
) -> Vec<Placed<PermissionPattern>> {
    let given = field.value().into_iter().flat_map(|list| &list.items);
    let checked = given.map(|pattern| {
        warn_of_doubt(at, pattern, findings);
        if pattern.get_ref().command().is_built_in() {
            built_in(at, pattern, findings);
        } else {
            served(at, pattern, plugins, findings);
        }
        Placed { value: pattern.get_ref().clone(), place: findings.place(pattern.span().start) }
    });
    checked.collect()
}

/// Reports a pattern for built-in commands that matches none.
fn built_in(at: &str, pattern: &Spanned<PermissionPattern>, findings: &mut Findings) {
    let command = pattern.get_ref().command();
    let text = command.as_ref();
    if BUILT_INS.iter().any(|built_in| command.allows(built_in)) {
        return;
    }
    let message = format!("`{at}.commands` holds `{text}`, which is not a built-in command");
    let fault = findings.error(message).at(pattern.span(), "there is no such command");
    let meant = closest(text.trim_end_matches('*'), BUILT_INS);
    fault
        .helps(meant.map(|meant| format!("did you mean `{meant}`?")))
        .help(format!("built-in commands: {}", list(&BUILT_INS)))
        .done();
}

/// Warns of a pattern that matches no plugin's command.
fn served(at: &str, pattern: &Spanned<PermissionPattern>, plugins: &Resolved, findings: &mut Findings) {
    let bare = pattern.get_ref().command().as_ref().trim_end_matches('*');
    let built_in = BUILT_INS.iter().copied().find(|command| command.strip_prefix('@') == Some(bare));
    plugins.warn_of_unserved(&format!("{at}.commands"), pattern, built_in, findings);
}
