//! Changes to a config file by a verb: checked, shown, confirmed, written, and put in force.
//!
//! Everything that edits a config file does so through [`Original`].

use std::path::{Path, PathBuf};
use std::vec;

use super::config_file::{CONFIG_FILE, is_missing, want_file, want_own_config};
use super::output;
use super::paste;
use super::running::{Edit, Running};
use super::{Exit, Failure, question};
use crate::config::{
    self, ClientName, Fault, PluginName, Severity, section_line, section_names, without_section,
};
use crate::files::{FileId, make_alike, put_alike, read_named, remove_unchanged};
use crate::text::InvalidText;

/// Options of verbs that change a config file.
#[derive(Debug, clap::Args)]
pub(super) struct RevisionOptions {
    /// Config file
    #[arg(long = "config", value_name = "FILE", default_value = CONFIG_FILE)]
    path: PathBuf,
    /// Write the change without asking
    #[arg(long)]
    yes: bool,
}

impl RevisionOptions {
    /// Reads the config file to be changed, and those it includes.
    pub(super) fn originals(&self) -> Result<Originals, Failure> {
        if self.path == Path::new(CONFIG_FILE) {
            want_own_config()?;
        }
        Originals::read(&self.path)
    }

    /// Takes a section out of the config file.
    pub(super) fn remove(&self, removal: Removal<'_>) -> Result<(), Failure> {
        let Removal { table, kind, name, effect, until_reload } = removal;
        let leaving = (table == CLIENTS).then_some(name);
        let originals = self.originals()?;
        let all_names = originals.0.iter().flat_map(|original| section_names(original.text(), table));
        let names: Vec<_> = all_names.collect();
        let found = originals.0.into_iter().find_map(|original| {
            let edited = without_section(original.text(), table, name)?;
            Some((original, edited))
        });
        let Some((original, edited)) = found else {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let path = self.path.display();
            return Err(Failure::usage(format!("{path} has no {kind} {name}; it has {names}")));
        };
        original.check(&edited)?;
        original.show(&edited)?;
        let path = original.path().display();
        if original.is_removed_by(&edited) {
            output::line(&format!("{path} is removed, as nothing is left in it"))?;
        }
        output::line(effect)?;
        self.confirm()?;
        let running = Running::before(&self.path, Edit { leaving, until_reload });
        original.replace(&edited)?;
        output::line(&format!("removed the {kind} {name} from {path}"))?;
        running.reload()
    }

    /// Returns true if the user is asked.
    pub(super) fn asks(&self) -> bool {
        !self.yes && output::is_interactive()
    }

    /// Requires a yes to the change that has been shown.
    pub(super) fn confirm(&self) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !self.asks() {
            return Err(Failure::usage(
                "nothing was written: there is no terminal to ask; --yes writes without asking",
            ));
        }
        match question::confirm("Write this?")? {
            true => Ok(()),
            false => Err(Failure::failed("nothing was written")),
        }
    }
}

/// A section to be taken out of a config file.
pub(super) struct Removal<'r> {
    pub(super) table: &'static str,
    /// The word for a section of this table.
    pub(super) kind: &'static str,
    pub(super) name: &'r str,
    /// The effect on a running server.
    pub(super) effect: &'r str,
    /// The state of a running server until it has reloaded: "still admits laptop".
    pub(super) until_reload: &'r str,
}

/// A config file and those it includes, as they were read; the first is the config file.
pub(super) struct Originals(Vec<Original>);

impl Originals {
    /// Reads the files, all of which are TOML; they may have other faults. Of a config that cannot be
    /// resolved, reads only its own file.
    pub(super) fn read(config: &Path) -> Result<Self, Failure> {
        let main = Original::read(config, config)?;
        let included = config::load_of_anybody(config).map(|loaded| loaded.config.included);
        let included = included.unwrap_or_default().into_iter().map(|path| Original::read(config, &path));
        Ok(Self(std::iter::once(Ok(main)).chain(included).collect::<Result<_, _>>()?))
    }

    /// The file to which a section `name` of `table` is to be added: the config's own, or `to`, one that it
    /// includes, or would include if it existed.
    ///
    /// # Errors
    ///
    /// There is such a section, or `to` is not included.
    pub(super) fn for_new(
        mut self,
        (table, kind, name): (&str, &str, &str),
        to: Option<&Path>,
    ) -> Result<Original, Failure> {
        let line = |original: &Original| section_line(original.text(), table, name);
        if let Some((original, line)) = self.0.iter().find_map(|original| Some((original, line(original)?))) {
            let (path, config) = (original.path().display(), paste::path(original.config()));
            let named = match original.config() == Path::new(CONFIG_FILE) {
                true => String::new(),
                false => format!("--config {config} "),
            };
            let advice = match table {
                CLIENTS => format!(
                    "to let it do more, edit its `commands` there: `lictor check {named}--as {name} CMD` prints the line"
                ),
                _ => "to serve another version, replace its component and write the new hash, which `lictor plugin inspect FILE` \
                      prints, into `sha256` there"
                    .to_owned(),
            };
            return Err(Failure::usage(format!(
                "{path} has a {kind} {name} already, in line {line}; {advice}"
            )));
        }
        let is_meant = |original: &Original| match to {
            None => true,
            Some(to) => FileId::at(to).is_some_and(|id| FileId::at(original.path()) == Some(id)),
        };
        match self.0.iter().position(is_meant) {
            Some(meant) => Ok(self.0.swap_remove(meant)),
            None => self.new_file(to.unwrap_or(Path::new(""))),
        }
    }

    /// The file `to`, which is none of these, and is to be created.
    fn new_file(mut self, to: &Path) -> Result<Original, Failure> {
        let paths: Vec<_> = self.0.iter().map(|original| original.path().display().to_string()).collect();
        let main = self.0.swap_remove(0);
        let (config, shown) = (main.path().display(), to.display());
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| is_missing(folder)) {
            let command = paste::path(folder);
            return Err(Failure::usage(format!(
                "there is no folder for {shown}; make it: `mkdir {command}`"
            )));
        }
        let known = paths.join(", ");
        match config::included_path(main.path(), main.text(), to) {
            Ok(path) if is_missing(to) => Ok(Original::new(main.path(), &path)),
            Ok(_) => {
                Err(Failure::usage(format!("{shown} can't be read as one of the files of {config}: {known}")))
            }
            Err(patterns) => {
                let advice = match patterns.is_empty() {
                    true => format!(
                        "it includes no files: write `include = [\"conf.d/*.toml\"]` at the top of {config}"
                    ),
                    false => format!(
                        "it includes {}: choose such a name, or add a pattern to `include`",
                        patterns.join(", ")
                    ),
                };
                Err(Failure::usage(format!(
                    "{shown} is no file of this config, whose files are {known}; {advice}"
                )))
            }
        }
    }
}

impl IntoIterator for Originals {
    type Item = Original;
    type IntoIter = vec::IntoIter<Original>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A file of a config as it was read.
pub(super) struct Original {
    /// The config's own file.
    config: PathBuf,
    path: PathBuf,
    /// Empty for a file that is to be created.
    text: String,
    is_new: bool,
}

impl Original {
    fn read(config: &Path, path: &Path) -> Result<Self, Failure> {
        want_file(path)?;
        let told = |why: &str| Failure::usage(format!("{}: {why}", path.display()));
        let bytes = read_named(path, config::MOST_CONFIG_BYTES).map_err(|fault| told(&fault.what()))?;
        let text = String::from_utf8(bytes).map_err(|_| told("it is not UTF-8; save it as UTF-8"))?;
        config::parse_syntax(path, &text).map_err(|faults| {
            output::faults(|style| faults.render(style));
            Failure::told(Exit::Usage)
        })?;
        Ok(Self { text, is_new: false, ..Self::new(config, path) })
    }

    /// A file that is to be created.
    fn new(config: &Path, path: &Path) -> Self {
        Self { config: config.to_owned(), path: path.to_owned(), text: String::new(), is_new: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The config's own file.
    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    /// The folder in which relative paths of the file start.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Writes a path as the file names it: relative to its folder if it is below that or below the config's.
    pub(super) fn written(&self, path: &Path) -> Result<String, Failure> {
        let full = |path: &Path| {
            let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            std::path::absolute(here).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        };
        let (path_of_folder, main) =
            (full(self.folder())?, full(self.config.parent().unwrap_or(Path::new("")))?);
        let full = full(path)?;
        let up = || {
            let below = path_of_folder.strip_prefix(&main).ok()?;
            let up: PathBuf = below.components().map(|_| Path::new("..")).collect();
            // A link in between leads up to somewhere else.
            let is_main = FileId::at(&path_of_folder.join(&up)) == FileId::at(&main);
            Some(up.join(full.strip_prefix(&main).ok()?)).filter(|_| is_main)
        };
        let below = full.strip_prefix(&path_of_folder).ok().map(Path::to_owned);
        let written = below.or_else(up).unwrap_or_else(|| full.clone());
        let written = written.to_str().map(str::to_owned);
        written.ok_or_else(|| {
            Failure::usage(format!("{}: a config can only name paths of UTF-8", path.display()))
        })
    }

    /// Refuses a change that adds an error to those that the file has. Reports the warnings that it adds.
    pub(super) fn check(&self, edited: &str) -> Result<(), Failure> {
        self.check_beyond(&self.text, edited)
    }

    /// Checks a change like [`Self::check`], beyond the faults of the text `checked`.
    pub(super) fn check_beyond(&self, checked: &str, edited: &str) -> Result<(), Failure> {
        let faults = |text: &str| match config::parse_edited(&self.config, &self.path, text) {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults.iter().cloned().collect(),
        };
        let mut old = faults(checked);
        let is_new = |fault: &Fault| match old.iter().position(|old| old.message() == fault.message()) {
            Some(known) => {
                old.swap_remove(known);
                false
            }
            None => true,
        };
        let new: Vec<_> = faults(edited).into_iter().filter(is_new).collect();
        for fault in &new {
            output::faults(|style| fault.render(style));
        }
        match new.iter().any(|fault| fault.severity() == Severity::Error) {
            true => {
                Err(Failure::usage(format!("nothing was written: {} would be faulty", self.path.display())))
            }
            false => Ok(()),
        }
    }

    /// Shows the change.
    pub(super) fn show(&self, edited: &str) -> Result<(), Failure> {
        let difference = config::difference(&self.text, edited);
        let new = if self.is_new { " (a new file)" } else { "" };
        output::line(&format!("{}{new}\n{}", self.path.display(), difference.trim_end()))
    }

    /// Returns true if the change leaves nothing in an included file. What a link leads to stays.
    fn is_removed_by(&self, edited: &str) -> bool {
        let is_file = || self.path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        self.path != self.config && edited.trim_start_matches('\u{feff}').trim().is_empty() && is_file()
    }

    /// Writes the changed text in place of the file, unless the file has changed since it was read. Removes
    /// an included file in which nothing is left.
    pub(super) fn replace(&self, edited: &str) -> Result<(), Failure> {
        let old = self.text.as_bytes();
        let replaced = if self.is_new {
            make_alike(&self.path, &self.config, edited.as_bytes())
        } else if self.is_removed_by(edited) {
            remove_unchanged(&self.path, old)
        } else {
            put_alike(&self.path, old, edited.as_bytes())
        };
        replaced
            .map_err(|error| Failure::failed(format!("{} can't be changed: {error}", self.path.display())))
    }
}

/// The tables of clients and of plugins in a config.
pub(super) const CLIENTS: &str = "clients";
pub(super) const PLUGINS: &str = "plugins";

/// Parses a client's name.
pub(super) fn client_name(text: &str) -> Result<ClientName, String> {
    ClientName::try_from(text.to_owned()).map_err(InvalidText::in_full)
}

/// Parses a plugin's name.
pub(super) fn plugin_name(text: &str) -> Result<PluginName, String> {
    PluginName::try_from(text.to_owned()).map_err(InvalidText::in_full)
}
