//! `lictor plugin inspect`: a component's needs and offers.

use std::fmt::Write;
use std::path::PathBuf;

use super::options::{CompileOptions, bytes};
use super::{Failure, output};
use crate::author::{self, Inspection, Standing};

/// Show a component's imports, exports, required grants and commands
///
/// Compiles it, and runs its `describe` with every possible grant.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin inspect plugins/echo.wasm")]
pub(in crate::cli) struct Inspect {
    /// Component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    compile: CompileOptions,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.file.display();
        let inspected = author::inspect(&self.file, self.compile.compiling());
        let (inspection, commands) =
            inspected.map_err(|error| Failure::failed(format!("{path}: {error:#}")))?;
        let mut text = imports(&path.to_string(), &inspection);
        let exports: Vec<_> = inspection.exports.iter().map(|name| (name.as_str(), String::new())).collect();
        section(&mut text, "exports", &exports);
        if let Ok(commands) = &commands {
            let commands: Vec<_> = commands
                .iter()
                .map(|info| {
                    let usage = if info.usage.is_empty() { &info.name } else { &info.usage };
                    let again = if info.idempotent { " (may be repeated)" } else { "" };
                    (usage.as_str(), format!("{}{again}", info.summary))
                })
                .collect();
            section(&mut text, "commands", &commands);
        }
        output::line(text.trim_end())?;
        match commands {
            Ok(commands) => author::name_faults(&commands).map(Failure::failed).map_or(Ok(()), Err),
            Err(error) => Err(Failure::failed(format!("it does not load: {error:#}"))),
        }
    }
}

/// Describes the component at `path` and its imports, in lines.
pub(super) fn imports(path: &str, inspection: &Inspection) -> String {
    let world = world(&inspection.exports).unwrap_or_default();
    let mut text = format!("{path}: a component of {}{world}\n", bytes(inspection.size_bytes));
    let mut lines = Vec::new();
    let mut by_grant = Vec::new();
    for (import, standing) in &inspection.imports {
        let words = match standing {
            Standing::AlwaysThere => "always there".to_owned(),
            Standing::ByGrant(lines) => {
                by_grant.push(*lines);
                "by grant".to_owned()
            }
            Standing::Missing(reason) => reason.clone(),
        };
        lines.push((import.as_str(), words));
    }
    section(&mut text, "imports", &lines);
    let grants: Vec<_> =
        author::grant_lines(by_grant).into_iter().map(|line| (line, String::new())).collect();
    section(&mut text, "to grant them", &grants);
    text
}

/// The world of a component with these exports, as the end of a sentence.
fn world(exports: &[String]) -> Option<String> {
    let worlds =
        [("lictor:plugin/streaming-commands@", "streaming-plugin"), ("lictor:plugin/commands@", "plugin")];
    worlds.into_iter().find_map(|(commands, world)| {
        let version = exports.iter().find_map(|export| export.strip_prefix(commands))?;
        Some(format!(", of the world lictor:plugin/{world}@{version}"))
    })
}

/// Appends a heading and its lines, in two columns; nothing without lines.
fn section(text: &mut String, heading: &str, lines: &[(&str, String)]) {
    if lines.is_empty() {
        return;
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{heading}:");
    for (name, words) in lines {
        let line = format!("  {name:width$}  {words}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
