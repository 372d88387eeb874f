//! `lictor plugin add`: a plugin's section in the config, with its grants and the hash of its component.

use std::path::PathBuf;

use super::grants::{GrantOption, Granted, Needed, note_unused};
use super::inspect::imports;
use super::{Failure, output};
use crate::author::{self, Compiling, Inspected, Standing};
use crate::cli::revision::{Original, RevisionOptions, SectionKind, plugin_name};
use crate::cli::running::{Edit, Running};
use crate::config::{Limits, PluginName, Section, quoted, quoted_list};

/// Add a plugin to the config file
///
/// Shows what the component imports, and asks for each grant that it needs. Pins the component by its
/// SHA-256. Shows the change and asks before it writes. Comments and order stay. A running server reloads the
/// config.
///
/// Without a terminal, or with --yes, each grant is given by --grant KEY=VALUE, KEY being a key of
/// [plugins.NAME.grants], or by --grant config for a section of settings.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin add plugins/echo.wasm
  lictor plugin add weather.wasm --grant http=https://api.example.com --grant keyvalue=default --yes
  lictor plugin add reports.wasm --grant directories=/data=/srv/reports --name reports --command report")]
pub(in crate::cli) struct Add {
    /// Component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the plugin [default: the file's name without its ending]
    #[arg(long, value_parser = plugin_name)]
    name: Option<PluginName>,
    /// Command to route to it; may be repeated [default: those that it describes]
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    /// Grant, such as keyvalue=default, http=https://HOST, logging, config; may be repeated, also for further
    /// values; KEY= grants an empty list
    #[arg(long = "grant", value_name = "KEY[=VALUE]")]
    grants: Vec<GrantOption>,
    /// Included file to write to; created if it does not exist [default: the config file]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    revision: RevisionOptions,
}

impl Add {
    pub(super) fn run(self) -> Result<(), Failure> {
        let originals = self.revision.originals()?;
        let file = self.file.display();
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
                let told =
                    |why| Failure::usage(format!("no plugin can be named after {file}: {why}; give --name"));
                plugin_name(&stem).map_err(told)?
            }
        };
        let original = originals.for_new((SectionKind::Plugin, name.as_ref()), self.to.as_deref())?;
        let path = original.path().display();
        let inspected = author::inspect(&self.file, compiling(&original));
        let (inspection, described) =
            inspected.map_err(|error| Failure::usage(format!("{file}: {error:#}")))?;
        output::line(imports(&file.to_string(), &inspection).trim_end())?;
        let described = self.commands_of((inspection.clone(), described))?;
        let needed = Needed::of(&inspection);
        note_unused(&self.grants, &needed);
        let mut granted = Granted::by(&self.grants);
        let edited = |granted: &Granted| {
            let section = self.section(&original, (&name, &inspection.sha256), described.clone(), granted)?;
            Ok::<_, Failure>(section.added_to(original.text()))
        };
        match self.revision.asks() {
            true => {
                // An answer is checked at once, so that it alone is asked for again.
                let mut known = original.check(&edited(&granted)?)?;
                granted.ask_for(&needed, |granted| {
                    let checked = original.review(&known, &edited(granted)?);
                    Ok(checked.map(|checked| known = checked).is_some())
                })?;
            }
            false => {
                granted.want(&needed)?;
                original.check(&edited(&granted)?)?;
            }
        }
        let edited = edited(&granted)?;
        original.show(&edited)?;
        self.revision.confirm()?;
        let until_reload = format!("does not run the commands of {name} yet");
        let edit = Edit { leaving: None, until_reload: &until_reload };
        let running = Running::before(original.whole(), edit);
        original.replace(&edited)?;
        output::line(&format!("added the plugin {name} to {path}"))?;
        running.reload()?;
        output::line("clients may run its commands once their `commands`, or those of a role, allow them")
    }

    /// The commands to route to the plugin, of a component that loads.
    fn commands_of(&self, (inspection, described): Inspected) -> Result<Vec<String>, Failure> {
        let file = self.file.display();
        let missing = inspection.imports.iter().filter_map(|(import, standing)| match standing {
            Standing::Missing(reason) => Some(format!("it imports {import}, {reason}")),
            Standing::AlwaysThere | Standing::ByGrant(_) => None,
        });
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            return Err(Failure::usage(format!("{file} does not load: {}", missing.join("\n"))));
        }
        let described =
            described.map_err(|error| Failure::usage(format!("{file} does not load: {error:#}")))?;
        if let Some(faults) = author::name_faults(&described) {
            return Err(Failure::usage(faults));
        }
        match (self.commands.is_empty(), described.is_empty()) {
            (false, _) => Ok(self.commands.clone()),
            (true, false) => Ok(described.into_iter().map(|info| info.name).collect()),
            (true, true) => Err(Failure::usage(format!(
                "{file} describes no command; name those to route to it with --command"
            ))),
        }
    }

    fn section(
        &self,
        original: &Original,
        (name, sha256): (&PluginName, &[u8; 32]),
        commands: Vec<String>,
        granted: &Granted,
    ) -> Result<Section, Failure> {
        let mut rows = vec![
            ("component".to_owned(), quoted(&original.written(&self.file)?)),
            ("sha256".to_owned(), quoted(&base16ct::lower::encode_string(sha256))),
        ];
        // The default of a section without the key.
        if commands != [name.as_ref()] {
            rows.push(("commands".to_owned(), quoted_list(&commands)));
        }
        Ok(Section {
            table: SectionKind::Plugin.table(),
            name: name.to_string(),
            rows,
            tables: granted.tables(),
        })
    }
}

/// The bounds of the config on compiling, if it can be read.
fn compiling(original: &Original) -> Compiling {
    let limits = original.config().map_or_else(Limits::default, |config| config.limits.clone());
    Compiling::by_itself(limits.component_bytes, limits.compile_memory_bytes, limits.compile_time)
}
