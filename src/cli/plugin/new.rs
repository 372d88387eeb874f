//! `lictor plugin new`: a project that builds, with everything that it needs but its language's tools.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Failure, output};

/// The files that a project may be made of: path in the repository, whether it is a program, and what is in it.
static KIT: &[(&str, bool, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// Make a project for a plugin
///
/// The project has a command to begin with, a build script that installs the language's tools into the project, and a
/// test. The README in it says what to do next.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lictor plugin new greet --lang rust && cd greet && ./test.sh
  lictor plugin new greet --lang python --dir plugins/greet")]
pub(in crate::cli) struct New {
    /// The plugin, and its command: lower-case letters, digits and `-`, beginning with a letter
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// The language that it is written in
    #[arg(long, value_name = "LANG")]
    lang: Language,
    /// Where to make it [default: a folder of the plugin's name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A language for which there is a kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// The smallest and fastest plugins
    Rust,
    /// JavaScript, run by QuickJS
    Js,
    /// Python 3, run by CPython
    Python,
    /// C, compiled by zig
    C,
}

impl Language {
    /// Where in a project each folder of the repository goes; later ones win.
    fn layout(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // The kit reads `wit/` from beside it.
            Self::Rust => &[
                ("sdk/templates/common/test.sh", "test.sh"),
                ("sdk/templates/rust", ""),
                ("sdk/rust", "lictor/sdk/rust"),
                ("wit", "lictor/wit"),
            ],
            Self::Js => &[
                ("sdk/templates/common", ""),
                ("sdk/templates/common/world.wit", "wit/world.wit"),
                ("sdk/js", ""),
                ("sdk/templates/js", ""),
                ("wit/plugin.wit", "wit/deps/lictor/plugin.wit"),
                ("wit/deps", "wit/deps"),
            ],
            Self::Python => &[
                ("sdk/templates/common", ""),
                ("sdk/templates/common/world.wit", "wit/world.wit"),
                ("sdk/python", ""),
                ("sdk/templates/python", ""),
                ("wit/plugin.wit", "wit/deps/lictor/plugin.wit"),
                ("wit/deps", "wit/deps"),
            ],
            Self::C => &[
                ("sdk/templates/common", ""),
                ("sdk/templates/common/world.wit", "wit/world.wit"),
                ("sdk/c", ""),
                ("sdk/templates/c", ""),
                ("wit/plugin.wit", "wit/deps/lictor/plugin.wit"),
                ("wit/deps", "wit/deps"),
            ],
        }
    }
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
            return Err(Failure::failed(format!(
                "{} is there already; name another with --dir",
                folder.display()
            )));
        }
        let files = project(self.lang, &self.name);
        if files.is_empty() {
            return Err(Failure::failed("this program was built without the kits for plugins".to_owned()));
        }
        for (path, is_program, bytes) in files {
            write(&folder.join(path), is_program, &bytes)?;
        }
        output::line(&format!("{}: a plugin in {}", folder.display(), self.lang.shown()))?;
        output::note(&format!("next: cd {} && ./test.sh", folder.display()));
        Ok(())
    }
}

impl Language {
    fn shown(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Python => "Python",
            Self::C => "C",
        }
    }
}

/// A project's files: path, whether it is a program, bytes. Where two have one path, the later of the layout is it.
fn project(language: Language, name: &str) -> Vec<(String, bool, Vec<u8>)> {
    let mut files: Vec<(String, bool, Vec<u8>)> = Vec::new();
    for (from, to) in language.layout() {
        for (path, is_program, bytes) in KIT {
            let Some(rest) = path.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            else {
                continue;
            };
            let path = format!("{to}{rest}").trim_start_matches('/').to_owned();
            let is_world_here = path == "world.wit";
            if is_world_here {
                continue;
            }
            files.retain(|(known, ..)| *known != path);
            let is_template = from.starts_with("sdk/templates");
            let bytes = if is_template { named(bytes, name) } else { bytes.to_vec() };
            files.push((path, *is_program, bytes));
        }
    }
    files
}

/// Puts the plugin's name where the template has a mark for it; `{{ident}}` is the name as an identifier.
fn named(bytes: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("{{name}}", name).replace("{{ident}}", &name.replace('-', "_")).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

fn write(path: &Path, is_program: bool, bytes: &[u8]) -> Result<(), Failure> {
    let written = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mode = if is_program { 0o755 } else { 0o644 };
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
    };
    written().map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// What may name a plugin, a package of every language and a command.
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
    fn a_project_has_its_names_and_its_kit() {
        for language in [Language::Rust] {
            let files = project(language, "my-plugin");
            assert!(files.iter().any(|(path, ..)| path == "README.md"), "{language:?}");
            assert!(
                files.iter().any(|(path, is_program, _)| path == "build.sh" && *is_program),
                "{language:?}"
            );
            for (path, _, bytes) in files.iter().filter(|(path, ..)| !path.contains('/')) {
                let text = String::from_utf8_lossy(bytes);
                assert!(!text.contains("{{name}}") && !text.contains("{{ident}}"), "{path}");
            }
        }
    }

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
