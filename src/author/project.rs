//! The files of a new project: a template of its language, the kit, and the interfaces.

/// All files that a project may contain: path in the repository, executable or not, contents.
static KIT: &[(&str, bool, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/kit.rs"));

/// A file of a project: its path there, executable or not, contents.
pub type ProjectFile = (String, bool, Vec<u8>);

/// A language for which there is a kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The smallest and fastest plugins
    Rust,
    /// Rust with all of its standard library, which imports WASI
    RustStd,
    /// JavaScript, run by QuickJS
    Js,
    /// Python 3, run by CPython
    Python,
    /// C, compiled by zig
    C,
}

impl Language {
    /// The language's folder in `sdk/` and `sdk/templates/`.
    fn folder(self) -> &'static str {
        match self {
            Self::Rust | Self::RustStd => "rust",
            Self::Js => "js",
            Self::Python => "python",
            Self::C => "c",
        }
    }

    /// Maps each folder or file of the repository to its place in a project; later entries win.
    fn layout(self) -> Vec<(String, &'static str)> {
        let common = |name: &str| format!("sdk/templates/common/{name}");
        let (kit, template) = (format!("sdk/{}", self.folder()), format!("sdk/templates/{}", self.folder()));
        match self {
            // The kit reads `wit/` from a neighbouring folder.
            Self::Rust => vec![
                (common("test.sh"), "test.sh"),
                (common("test.toml"), "test.toml"),
                (template, ""),
                (kit, "lictor/sdk/rust"),
                ("wit".into(), "lictor/wit"),
            ],
            Self::RustStd => {
                let mut layout = Self::Rust.layout();
                layout.push(("sdk/templates/rust-std".into(), ""));
                layout
            }
            Self::Js | Self::Python | Self::C => vec![
                (common("test.sh"), "test.sh"),
                (common("test.toml"), "test.toml"),
                (common(".gitignore"), ".gitignore"),
                (common("world.wit"), "wit/world.wit"),
                (kit, ""),
                (template, ""),
                ("wit/plugin.wit".into(), "wit/deps/lictor/plugin.wit"),
                ("wit/deps".into(), "wit/deps"),
            ],
        }
    }
}

/// The files of a project for the plugin `name`; none if this program was built without the kits. If two have
/// one path, the one later in the layout wins.
#[must_use]
pub fn project(language: Language, name: &str) -> Vec<ProjectFile> {
    let mut files: Vec<ProjectFile> = Vec::new();
    for (from, to) in language.layout() {
        for (path, is_program, bytes) in KIT {
            let rest = path.strip_prefix(from.as_str());
            let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else { continue };
            let path = format!("{to}{rest}").trim_start_matches('/').to_owned();
            files.retain(|(known, ..)| *known != path);
            let is_template = from.starts_with("sdk/templates");
            let bytes = if is_template { named(bytes, name) } else { bytes.to_vec() };
            files.push((path, *is_program, bytes));
        }
    }
    files
}

/// Replaces the template's placeholder by the plugin's name.
fn named(bytes: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("{{name}}", name).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_names_and_its_kit() {
        for language in [Language::Rust, Language::RustStd, Language::Js, Language::Python, Language::C] {
            let files = project(language, "my-plugin");
            assert!(files.iter().any(|(path, ..)| path == "README.md"), "{language:?}");
            assert!(
                files.iter().any(|(path, is_program, _)| path == "build.sh" && *is_program),
                "{language:?}"
            );
            for (path, _, bytes) in files.iter().filter(|(path, ..)| !path.contains('/')) {
                let text = String::from_utf8_lossy(bytes);
                assert!(!text.contains("{{name}}"), "{path}");
            }
        }
    }
}
