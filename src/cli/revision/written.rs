//! Paths as a config names them.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::Original;
use crate::cli::Failure;
use crate::files::FileId;

impl Original {
    /// Writes a path as the file names it: relative to its folder if it is below that or below the config's,
    /// otherwise in full.
    pub(in crate::cli) fn written(&self, path: &Path) -> Result<String, Failure> {
        let full =
            |path: &Path| full(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())));
        let (folder, main) = (full(self.folder())?, full(self.main().parent().unwrap_or(Path::new("")))?);
        let full = full(path)?;
        let up = || {
            let up: PathBuf =
                folder.strip_prefix(&main).ok()?.components().map(|_| Path::new("..")).collect();
            // A link in between leads up to somewhere else.
            let is_main = FileId::at(&folder.join(&up)) == FileId::at(&main);
            Some(up.join(below(&full, &main)?)).filter(|_| is_main)
        };
        let written = below(&full, &folder).or_else(up).unwrap_or_else(|| full.clone());
        let written = written.to_str().map(str::to_owned);
        written.ok_or_else(|| {
            Failure::usage(format!("{}: a config can only name paths of UTF-8", path.display()))
        })
    }
}

/// Returns the full path, without `..`.
pub(in crate::cli) fn full(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(if path.as_os_str().is_empty() { Path::new(".") } else { path })?;
    Ok(path.components().fold(PathBuf::new(), |before, component| match component {
        Component::ParentDir => {
            // The folder that a link leads to has another parent than the link.
            let mut before = before.canonicalize().unwrap_or(before);
            before.pop();
            before
        }
        component => before.join(component),
    }))
}

/// Returns the path of a file relative to `folder`, if it is below it, perhaps by another name of the folder.
fn below(path: &Path, folder: &Path) -> Option<PathBuf> {
    let real = || {
        let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        Some(real.strip_prefix(folder.canonicalize().ok()?).ok()?.to_owned())
    };
    path.strip_prefix(folder).ok().map(Path::to_owned).or_else(real)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_relative_to_a_folder_that_it_is_below_and_has_no_dots() {
        let outer = tempfile::tempdir().unwrap();
        let at = |path: &str| outer.path().join(path);
        fs::create_dir_all(at("real/a/b")).unwrap();
        symlink(at("real/a"), at("link")).unwrap();
        fs::write(at("real/x"), "").unwrap();
        for (path, expected) in [
            ("real/a/../x", "real/x"),
            ("./real/./a/b/../../x", "real/x"),
            // The parent of the folder that the link leads to.
            ("link/../x", "real/x"),
            ("none/../x", "x"),
        ] {
            let expected = at(expected);
            let expected = expected.canonicalize().unwrap_or(expected);
            let full = full(&at(path)).unwrap();
            assert_eq!(full.canonicalize().unwrap_or(full), expected, "{path}");
        }
        let relative = |path: &str, folder: &str| below(&full(&at(path)).unwrap(), &at(folder));
        assert_eq!(relative("real/a/b", "real"), Some("a/b".into()));
        assert_eq!(relative("link/b", "real"), Some("a/b".into()), "by another name of the folder");
        assert_eq!(relative("real/a/b", "link"), Some("b".into()));
        assert_eq!(relative("link/../x", "link"), None);
        assert_eq!(relative("real/x", "real/a"), None);
    }
}
