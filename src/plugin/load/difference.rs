//! The difference between two versions of a component: what the new one imports, exports and offers more or
//! less than the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::blocking::blocking;
use super::compile::{digest, read_file};
use super::fit::Standing;
use super::inspect::{Facts, Inspection};
use crate::plugin::plugin::{Loaded, Plugin};
use crate::plugin::spec::{CommandInfo, LoadError, Spec};

/// Names that only one of two components has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Those of the new one.
    pub gained: Vec<String>,
    /// Those of the old one.
    pub lost: Vec<String>,
}

/// The difference between an old and a new component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Worlds.
    pub worlds: Sides,
    /// Imports.
    pub imports: Sides,
    /// Keys of the grants that the imports need.
    pub grants: Sides,
    /// Exports.
    pub exports: Sides,
    /// Commands.
    pub commands: Sides,
    /// Commands of both whose usage, summary or idempotence differs.
    pub changed_commands: Vec<String>,
}

impl Difference {
    /// Compares two components; their commands too, if those of both are known.
    #[must_use]
    pub fn between(
        old: (&Inspection, Option<&[CommandInfo]>),
        new: (&Inspection, Option<&[CommandInfo]>),
    ) -> Self {
        let grants = |inspection: &Inspection| -> Vec<String> {
            let keys = inspection.imports.iter().filter_map(|(_, standing)| standing.grant_key());
            keys.map(str::to_owned).collect()
        };
        let imports = |inspection: &Inspection| -> Vec<String> {
            inspection.imports.iter().map(|(import, _)| import.clone()).collect()
        };
        let ((old, old_commands), (new, new_commands)) = (old, new);
        let commands = old_commands.zip(new_commands).unwrap_or_default();
        let by_name = |commands: &'_ [CommandInfo]| -> BTreeMap<String, CommandInfo> {
            commands.iter().map(|command| (command.name.clone(), command.clone())).collect()
        };
        let (old_commands, new_commands) = (by_name(commands.0), by_name(commands.1));
        let is_changed =
            |name: &&String| old_commands.get(*name).is_some_and(|old| old != &new_commands[*name]);
        Self {
            worlds: Sides::of([old.world.to_owned()], [new.world.to_owned()]),
            imports: Sides::of(imports(old), imports(new)),
            grants: Sides::of(grants(old), grants(new)),
            exports: Sides::of(old.exports.clone(), new.exports.clone()),
            changed_commands: new_commands.keys().filter(is_changed).cloned().collect(),
            commands: Sides::of(old_commands.into_keys(), new_commands.into_keys()),
        }
    }

    /// Returns true if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Sides {
    fn of(old: impl IntoIterator<Item = String>, new: impl IntoIterator<Item = String>) -> Self {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.into_iter().collect(), new.into_iter().collect());
        let only = |one: &BTreeSet<String>, other: &BTreeSet<_>| one.difference(other).cloned().collect();
        Self { gained: only(&new, &old), lost: only(&old, &new) }
    }
}

/// Most names of one kind that are told in a line: a component may have a hundred thousand.
const MAX_TOLD: usize = 16;

/// In one line, such as `imports +a -b; grants +http`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, imports, grants, exports, commands, changed_commands } = self;
        let mut parts = Vec::new();
        for (kind, sides, changed) in [
            ("world", worlds, &[][..]),
            ("imports", imports, &[]),
            ("grants", grants, &[]),
            ("exports", exports, &[]),
            ("commands", commands, changed_commands),
        ] {
            let signed = |sign: char, names: &[String]| -> Vec<String> {
                names.iter().map(|name| format!("{sign}{name}")).collect()
            };
            let names = [signed('+', &sides.gained), signed('-', &sides.lost), signed('~', changed)].concat();
            let told = names.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join(" ");
            match names.len().saturating_sub(MAX_TOLD) {
                0 if names.is_empty() => {}
                0 => parts.push(format!("{kind} {told}")),
                more => parts.push(format!("{kind} {told} and {more} more")),
            }
        }
        match parts.is_empty() {
            true => f.write_str("the same imports, exports and commands"),
            false => f.write_str(&parts.join("; ")),
        }
    }
}

impl Plugin {
    /// Compares this plugin's component with that of its successor.
    #[must_use]
    pub fn difference_to(&self, new: &Self) -> Difference {
        let (old, new) = ((self.inspection(), self.commands()), (new.inspection(), new.commands()));
        Difference::between((&old.0, Some(old.1)), (&new.0, Some(new.1)))
    }

    fn inspection(&self) -> Inspection {
        let Loaded { linked, engine, size_bytes, sha256, world, .. } = self.parts().1;
        let facts = Facts { size_bytes: *size_bytes, sha256: *sha256, world: *world };
        Inspection::of(linked.component(), engine.wasmtime(), facts)
    }

    /// Loads the component of `spec`, which is to take the place of this plugin.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), with the difference between the two components.
    pub async fn load_successor(&self, spec: Spec) -> Result<Self, LoadError> {
        let sandbox = Arc::clone(&self.parts().1.sandbox);
        let error = match Self::load(sandbox, spec.clone()).await {
            Ok(plugin) => return Ok(plugin),
            Err(error) => error,
        };
        let read = blocking(move || {
            let bytes = read_file(&spec)?;
            Ok(Inspection::of_bytes(&bytes, digest(&bytes)))
        });
        // A file that can't be read is what the error tells.
        let Ok(new) = read.await else { return Err(error) };
        let difference = Difference::between((&self.inspection(), None), (&new, None));
        match difference.is_empty() {
            true => Err(error),
            false => Err(error.with(&format!("compared with the version in use: {difference}"))),
        }
    }
}

impl Standing {
    /// The key of the grant that the import needs, in the plugin's table of grants or, for its settings, in
    /// its section.
    #[must_use]
    pub fn grant_key(&self) -> Option<&'static str> {
        let Self::ByGrant(lines) = self else { return None };
        match lines.split_once('\n') {
            Some((_, row)) => row.split(" = ").next(),
            // A table alone.
            None => lines.trim_end_matches(']').rsplit('.').next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::load::fit::standing;

    fn inspection(world: &'static str, imports: &[&str]) -> Inspection {
        Inspection {
            size_bytes: 1,
            sha256: [0; 32],
            world,
            imports: imports.iter().map(|import| ((*import).to_owned(), standing(import))).collect(),
            exports: vec![format!("lictor:plugin/{world}@0.1.0")],
        }
    }

    fn command(name: &str, usage: &str) -> CommandInfo {
        let text = |text: &str| text.to_owned();
        CommandInfo { name: text(name), summary: text(""), usage: text(usage), idempotent: false }
    }

    #[test]
    fn what_is_gained_and_lost_is_told_in_one_line() {
        let old = inspection("plugin", &["wasi:logging/logging@0.1.0-draft", "wasi:config/store@0.2.0-rc.1"]);
        let new =
            inspection("plugin", &["wasi:config/store@0.2.0-rc.1", "lictor:plugin/http@0.1.0", "acme:x/y"]);
        let (before, after) =
            ([command("a", "a"), command("b", "b")], [command("b", "b X"), command("c", "c")]);
        let difference = Difference::between((&old, Some(&before)), (&new, Some(&after)));
        assert_eq!(
            difference.to_string(),
            "imports +acme:x/y +lictor:plugin/http@0.1.0 -wasi:logging/logging@0.1.0-draft; grants +http -logging; \
             commands +c -a ~b"
        );
        let unknown = Difference::between((&old, Some(&before)), (&new, None));
        assert!(unknown.commands == Sides::default() && !unknown.is_empty());
        let same = Difference::between((&old, Some(&before)), (&old, Some(&before)));
        assert_eq!((same.is_empty(), &*same.to_string()), (true, "the same imports, exports and commands"));
        let streams = Difference::between((&old, None), (&inspection("streaming-plugin", &[]), None));
        assert!(streams.to_string().starts_with("world +streaming-plugin -plugin; imports -"), "{streams}");
    }

    #[test]
    fn a_line_has_an_end() {
        let names: Vec<_> = (0..100).map(|number| format!("a:b/c{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let difference =
            Difference::between((&inspection("plugin", &[]), None), (&inspection("plugin", &names), None));
        assert!(difference.to_string().ends_with(" and 84 more"), "{difference}");
    }

    #[test]
    fn the_key_of_a_grant_is_in_its_lines() {
        for (import, key) in [
            ("wasi:config/store@0.2.0-rc.1", Some("config")),
            ("wasi:logging/logging@0.1.0-draft", Some("logging")),
            ("lictor:plugin/state@0.1.0", Some("keyvalue")),
            ("lictor:plugin/http@0.1.0", Some("http")),
            ("wasi:io/poll@0.2.0", None),
        ] {
            assert_eq!(standing(import).grant_key(), key, "{import}");
        }
    }
}
