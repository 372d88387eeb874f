//! `lictor plugin new`: a project that builds, with everything that it needs except its language's tools.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Failure, output};
use crate::author::{Language, project};
use crate::cli::paste;
use crate::files;

/// Create a plugin project
///
/// The project has a sample command, a build script that installs the language's tools into the project, and
/// a test. Its README describes the next steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin new greet --lang rust && lictor plugin dev greet
  lictor plugin new greet --lang rust --std    for crates that need the system's files, clocks or random numbers
  lictor plugin new greet --lang python --dir plugins/greet")]
pub(in crate::cli) struct New {
    /// Name of the plugin and its command: lower-case letters, digits and `-`, beginning with a letter
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// Programming language
    #[arg(long, value_name = "LANG")]
    lang: Lang,
    /// Build Rust for wasm32-wasip2: the standard library gets files, clocks and random numbers, but
    /// instances start more slowly
    #[arg(long)]
    std: bool,
    /// Project folder [default: the plugin's name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A language for which there is a kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// The smallest and fastest plugins
    Rust,
    /// JavaScript, run by QuickJS
    Js,
    /// Python 3, run by CPython
    Python,
    /// C, compiled by zig
    C,
}

impl Lang {
    fn language(self) -> Language {
        match self {
            Self::Rust => Language::Rust,
            Self::Js => Language::Js,
            Self::Python => Language::Python,
            Self::C => Language::C,
        }
    }

    /// The same language with its full standard library.
    fn with_std(self) -> Result<Language, Failure> {
        match self {
            Self::Rust => Ok(Language::RustStd),
            Self::Js | Self::Python | Self::C => {
                Err(Failure::usage("--std is only for Rust: leave it out".to_owned()))
            }
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Python => "Python",
            Self::C => "C",
        }
    }
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
            return Err(Failure::failed(format!(
                "{} already exists; choose another folder with --dir",
                folder.display()
            )));
        }
        let language = if self.std { self.lang.with_std()? } else { self.lang.language() };
        let files = project(language, &self.name);
        if files.is_empty() {
            return Err(Failure::failed("this program was built without the plugin kits".to_owned()));
        }
        for (path, is_program, bytes) in files {
            let mode = if is_program { 0o755 } else { 0o644 };
            write(&folder.join(path), mode, &bytes)?;
        }
        output::line(&format!("{}: a plugin in {}", folder.display(), self.lang.shown()))?;
        output::note(&format!("next: lictor plugin dev {}", paste::path(&folder)));
        Ok(())
    }
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let written = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        files::make(path, mode, bytes)
    };
    written().map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// Accepts names valid for a plugin, a package of every language and a command.
fn name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(fits)
        && !text.ends_with('-')
        && !text.contains("--")
        && text.len() <= 64;
    let advice = "use up to 64 lower-case letters, digits and single `-`, beginning with a letter";
    if is_name { Ok(text.to_owned()) } else { Err(advice.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_every_language() {
        for good in ["greet", "a", "my-plugin-2"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "Greet", "2x", "-a", "a-", "a--b", "a_b", "a b", "../a", "é"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
