//! `lictor plugin diff`: the difference between two versions of a component.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::options::{CompileOptions, bytes};
use super::{Failure, output};
use crate::author::{self, Difference, Inspected, Sides};

/// Show the imports, grants, exports and commands that a new version of a component gains and loses
///
/// Compiles both, and runs the `describe` of each with every possible grant. The exit code is 0 whether or
/// not they differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin diff plugins/weather.wasm new/weather.wasm
  lictor plugin diff old.wasm new.wasm --json")]
pub(in crate::cli) struct Diff {
    /// Component file of the old version
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Component file of the new version
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

impl Diff {
    pub(super) fn run(self) -> Result<(), Failure> {
        let inspect = |path: &Path| {
            let inspected = author::inspect(path, self.compile.compiling());
            inspected.map_err(|error| Failure::failed(format!("{}: {error:#}", path.display())))
        };
        let (old, new) = (inspect(&self.old)?, inspect(&self.new)?);
        for (path, (_, commands)) in [(&self.old, &old), (&self.new, &new)] {
            if let Err(error) = commands {
                output::note(&format!(
                    "{} does not load, so no commands are compared: {error:#}",
                    path.display()
                ));
            }
        }
        let (old_commands, new_commands) = (old.1.as_deref().ok(), new.1.as_deref().ok());
        let difference = Difference::between((&old.0, old_commands), (&new.0, new_commands));
        match self.json {
            true => output::json(&in_json(&old, &new, &difference)),
            false => output::line(&self.in_lines(&old, &new, &difference)),
        }
    }

    fn in_lines(&self, (old, _): &Inspected, (new, _): &Inspected, difference: &Difference) -> String {
        let mut lines: Vec<_> = [(&self.old, old), (&self.new, new)]
            .into_iter()
            .map(|(path, inspection)| {
                let hash = base16ct::lower::encode_string(&inspection.sha256);
                format!("{}: {}, sha256 {hash}", path.display(), bytes(inspection.size_bytes))
            })
            .collect();
        for (heading, sides) in sides(difference) {
            let changed = if heading == "commands" { &difference.changed_commands[..] } else { &[] };
            let signed = [("+", &sides.gained[..]), ("-", &sides.lost), ("~", changed)];
            let signed =
                signed.into_iter().flat_map(|(sign, names)| names.iter().map(move |name| (sign, name)));
            let mut signed = signed.map(|(sign, name)| format!("  {sign} {name}")).peekable();
            if signed.peek().is_some() {
                lines.push(format!("{heading}:"));
            }
            lines.extend(signed);
        }
        if difference.is_empty() {
            let same =
                if old.sha256 == new.sha256 { "the same file" } else { "other code; otherwise the same" };
            lines.push(same.to_owned());
        }
        lines.join("\n")
    }
}

/// The kinds of names, each with its heading.
fn sides(difference: &Difference) -> [(&'static str, &Sides); 5] {
    [
        ("world", &difference.worlds),
        ("imports", &difference.imports),
        ("grants", &difference.grants),
        ("exports", &difference.exports),
        ("commands", &difference.commands),
    ]
}

fn in_json(
    (old, old_commands): &Inspected,
    (new, new_commands): &Inspected,
    difference: &Difference,
) -> Value {
    let facts = |inspection: &author::Inspection| {
        let sha256 = base16ct::lower::encode_string(&inspection.sha256);
        json!({ "size": inspection.size_bytes, "sha256": sha256 })
    };
    let mut document = json!({
        "old": facts(old),
        "new": facts(new),
        "same": difference.is_empty(),
        "commands_compared": old_commands.is_ok() && new_commands.is_ok(),
    });
    for (heading, sides) in sides(difference) {
        document[heading] = json!({ "gained": sides.gained, "lost": sides.lost });
    }
    document["commands"]["changed"] = json!(difference.changed_commands);
    document
}
