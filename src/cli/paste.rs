//! Printed commands that users paste into a shell.

use std::env;
use std::ffi::OsStr;
use std::path::Path;

use crate::files::FileId;
use crate::text::shell_word;

/// A path that no subcommand mistakes for an option.
pub(super) fn path(path: &Path) -> String {
    let path = path.to_string_lossy();
    shell_word(&if path.starts_with('-') { format!("./{path}").into() } else { path })
}

/// This program: its name if the shell finds it by that, otherwise its path.
pub(super) fn program() -> String {
    const NAME: &str = "lictor";
    let Ok(own) = env::current_exe() else { return NAME.to_owned() };
    match is_found_in(&env::var_os("PATH").unwrap_or_default(), NAME, &own) {
        true => NAME.to_owned(),
        false => path(&own),
    }
}

/// Returns true if a shell that searches the folders of `search` for `name` runs `program`.
fn is_found_in(search: &OsStr, name: &str, program: &Path) -> bool {
    let found = env::split_paths(search).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.is_some_and(|found| FileId::at(&found) == FileId::at(program))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_takes_a_word_for_itself_alone() {
        for text in
            ["kv-get", "x;id", "x$(id)", "`id`", "it's", "", "a b", "~", "#x", "a\\b", "!x", "é", "*", "a\nb"]
        {
            let line = format!("printf %s {}", shell_word(text));
            let printed = Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&printed.stdout), text, "{line}");
        }
        assert_eq!(shell_word("kv-get"), "kv-get");
        assert_eq!(path(Path::new("-x y")), "'./-x y'");
    }

    #[test]
    fn a_program_goes_by_its_name_only_where_that_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["own", "other"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("lictor"), name).unwrap();
        }
        let (own, other, program) = (at("own"), at("other"), at("own").join("lictor"));
        let is_found =
            |folders: &[&Path]| is_found_in(&env::join_paths(folders).unwrap(), "lictor", &program);
        assert!(is_found(&[&at("none"), &own, &other]));
        assert!(!is_found(&[&other, &own]));
        assert!(!is_found(&[&at("none")]));
    }
}
