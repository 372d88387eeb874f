//! Changes to a config file by a verb: checked, shown, confirmed, written, and put in force.
//!
//! Everything that edits a config file does so through [`Original`]. A verb loads the config once, and once
//! more to check an edit.

mod removal;
mod written;

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::vec;

use super::config_file::{CONFIG_FILE, is_missing, want_file, want_own_config};
use super::{Exit, Failure, output, paste, question};
use crate::config::{
    self, ClientName, Config, Fault, PluginName, Severity, section_line, section_names, without_section,
};
use crate::files::{FileId, make_alike, put_alike, read_named, remove_unchanged};
use crate::text::InvalidText;
pub(super) use written::full;

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

/// A kind of section that verbs add to a config and take out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Client,
    Plugin,
}

impl SectionKind {
    /// The table of all sections of this kind.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Client => "clients",
            Self::Plugin => "plugins",
        }
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Plugin => "plugin",
        })
    }
}

/// A config as it was checked: all faults, and its meaning, if it has one.
pub(super) struct Checked {
    faults: Vec<Fault>,
    config: Option<Config>,
}

impl Checked {
    /// Checks the config at `path` with `text` in place of the file `edited`.
    fn of(path: &Path, edited: &Path, text: &str) -> Self {
        match config::parse_edited(path, edited, text) {
            Ok(loaded) => Self { faults: loaded.warnings, config: Some(loaded.config) },
            Err(faults) => Self { faults: faults.iter().cloned().collect(), config: None },
        }
    }
}

/// A config file and those it includes, as they were read; the first is the config file.
pub(super) struct Originals(Vec<Original>);

impl Originals {
    /// Reads the files, all of which are TOML; they may have other faults. Of a config that cannot be
    /// resolved, reads only its own file.
    pub(super) fn read(config: &Path) -> Result<Self, Failure> {
        let text = read_text(config)?;
        let mut before = Checked::of(config, config, &text);
        if before.config.is_none() {
            // One that may not be served can still be resolved.
            before.config = config::load_of_anybody(config).ok().map(|loaded| loaded.config);
        }
        let included = before.config.iter().flat_map(|config| config.included.clone());
        let files: Vec<_> = std::iter::once(Ok((config.to_owned(), text)))
            .chain(included.map(|path| read_text(&path).map(|text| (path, text))))
            .collect::<Result<_, _>>()?;
        let before = Rc::new(before);
        let original = |(path, text)| Original {
            main: config.to_owned(),
            path,
            text,
            is_new: false,
            before: Rc::clone(&before),
        };
        Ok(Self(files.into_iter().map(original).collect()))
    }

    /// The file that has the section `name`, and its text without this.
    fn with(self, kind: SectionKind, name: &str) -> Result<(Original, String), Failure> {
        let names: Vec<_> =
            self.0.iter().flat_map(|original| section_names(original.text(), kind.table())).collect();
        let path = self.0.first().map(|main| main.path.display().to_string()).unwrap_or_default();
        let found = self.0.into_iter().find_map(|original| {
            let edited = without_section(original.text(), kind.table(), name)?;
            Some((original, edited))
        });
        found.ok_or_else(|| {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Failure::usage(format!("{path} has no {kind} {name}; it has {names}"))
        })
    }

    /// The file to which a section `name` is to be added: the config's own, or `to`, one that it
    /// includes, or would include if it existed.
    ///
    /// # Errors
    ///
    /// There is such a section, or `to` is not included.
    pub(super) fn for_new(
        mut self,
        (kind, name): (SectionKind, &str),
        to: Option<&Path>,
    ) -> Result<Original, Failure> {
        let line = |original: &Original| section_line(original.text(), kind.table(), name);
        if let Some((original, line)) = self.0.iter().find_map(|original| Some((original, line(original)?))) {
            let (path, config) = (original.path().display(), paste::path(original.main()));
            let named = match original.main() == Path::new(CONFIG_FILE) {
                true => String::new(),
                false => format!("--config {config} "),
            };
            let advice = match kind {
                SectionKind::Client => format!(
                    "to let it do more, edit its `commands` there: `lictor check {named}--as {name} CMD` prints the line"
                ),
                SectionKind::Plugin => "to serve another version, replace its component and write the new hash, which `lictor plugin inspect FILE` \
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
            Ok(path) if is_missing(to) => Ok(Original { path, text: String::new(), is_new: true, ..main }),
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

/// Reads the text of a file, which is TOML.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    want_file(path)?;
    let told = |why: &str| Failure::usage(format!("{}: {why}", path.display()));
    let bytes = read_named(path, config::MOST_CONFIG_BYTES).map_err(|fault| told(&fault.what()))?;
    let text = String::from_utf8(bytes).map_err(|_| told("it is not UTF-8; save it as UTF-8"))?;
    config::parse_syntax(path, &text).map_err(|faults| {
        output::faults(|style| faults.render(style));
        Failure::told(Exit::Usage)
    })?;
    Ok(text)
}

/// A file of a config as it was read.
pub(super) struct Original {
    /// The config's own file.
    main: PathBuf,
    path: PathBuf,
    /// Empty for a file that is to be created.
    text: String,
    is_new: bool,
    /// The config before the edit.
    before: Rc<Checked>,
}

impl Original {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The config's own file.
    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// The config before the edit; `None` if it cannot be resolved.
    pub(super) fn config(&self) -> Option<&Config> {
        self.before.config.as_ref()
    }

    /// The config's own file, and the config.
    pub(super) fn whole(&self) -> (&Path, Option<&Config>) {
        (self.main(), self.config())
    }

    /// The folder in which relative paths of the file start.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Refuses a change that adds an error to those that the config has. Reports the warnings that it adds.
    pub(super) fn check(&self, edited: &str) -> Result<Checked, Failure> {
        self.check_beyond(&self.before, edited)
    }

    /// Checks a change like [`Self::check`], beyond the faults that are `known`.
    pub(super) fn check_beyond(&self, known: &Checked, edited: &str) -> Result<Checked, Failure> {
        let faulty = || format!("nothing was written: {} would be faulty", self.path.display());
        self.review(known, edited).ok_or_else(|| Failure::usage(faulty()))
    }

    /// Reports the faults that a change adds to those that are `known`; returns `None` if one is an error.
    pub(super) fn review(&self, known: &Checked, edited: &str) -> Option<Checked> {
        let checked = Checked::of(&self.main, &self.path, edited);
        let mut old: Vec<_> = known.faults.iter().map(Fault::message).collect();
        let is_new = |fault: &&Fault| match old.iter().position(|old| *old == fault.message()) {
            Some(known) => {
                old.swap_remove(known);
                false
            }
            None => true,
        };
        let new: Vec<_> = checked.faults.iter().filter(is_new).collect();
        for fault in &new {
            output::faults(|style| fault.render(style));
        }
        let is_faulty = new.iter().any(|fault| fault.severity() == Severity::Error);
        (!is_faulty).then_some(checked)
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
        self.path != self.main && edited.trim_start_matches('\u{feff}').trim().is_empty() && is_file()
    }

    /// Writes the changed text in place of the file, unless the file has changed since it was read. Removes
    /// an included file in which nothing is left.
    pub(super) fn replace(&self, edited: &str) -> Result<(), Failure> {
        let old = self.text.as_bytes();
        let replaced = if self.is_new {
            make_alike(&self.path, &self.main, edited.as_bytes())
        } else if self.is_removed_by(edited) {
            remove_unchanged(&self.path, old)
        } else {
            put_alike(&self.path, old, edited.as_bytes())
        };
        replaced
            .map_err(|error| Failure::failed(format!("{} can't be changed: {error}", self.path.display())))
    }
}

/// Parses a client's name.
pub(super) fn client_name(text: &str) -> Result<ClientName, String> {
    ClientName::try_from(text.to_owned()).map_err(InvalidText::in_full)
}

/// Parses a plugin's name.
pub(super) fn plugin_name(text: &str) -> Result<PluginName, String> {
    PluginName::try_from(text.to_owned()).map_err(InvalidText::in_full)
}
