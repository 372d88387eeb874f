//! Rules that neither the compiler nor clippy checks: dependencies between modules, lengths of files,
//! forbidden content of the repository, and names in documents.
//!
//! Each check reads the files that git tracks or would track, fails if it finds nothing to look at, and says
//! what to do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arrows;
mod circles;
mod code;
mod comments;
mod documents;
mod opened;
mod rules;
mod said;
mod waits;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use code::{code_of, functions, line_of, named_modules, names_a_crate, without_tests, words};
use documents::{dependencies, links, named_in_tables, named_metrics, named_tests};

use rules::{FORBIDDEN_TEXT, FORBIDDEN_WORDS, MAX_FILE_LINES, MAY_KNOW, MAY_USE, NEVER_TRACKED};

#[test]
fn modules_know_only_what_they_may() {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    let mut faults = Vec::new();
    for (path, code) in source_code() {
        let module = module_of(&path);
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == module) else {
            faults.push(format!(
                "{path}: the module `{module}` is new; add it to MAY_KNOW and to ARCHITECTURE.md"
            ));
            continue;
        };
        for (line, known) in named_modules(&path, &code) {
            if known != module && !allowed.contains(&known.as_str()) {
                faults.push(format!(
                    "{path}:{line}: `{module}` may not know `{known}`. Hand it the value instead; or, if the map is to \
                     change, change MAY_KNOW and ARCHITECTURE.md"
                ));
            }
            found.insert((module.clone(), known));
        }
    }
    for (module, allowed) in MAY_KNOW {
        for known in *allowed {
            if !found.contains(&((*module).to_owned(), (*known).to_owned())) {
                faults.push(format!("`{module}` does not know `{known}` any more: take it out of MAY_KNOW"));
            }
        }
    }
    none(&faults, found.len());
}

#[test]
fn every_module_of_the_map_is_there() {
    let there: BTreeSet<PathBuf> = rust_files().iter().map(PathBuf::from).collect();
    for (module, _) in MAY_KNOW {
        let (file, folder) = (format!("src/{module}.rs"), format!("src/{module}/mod.rs"));
        let is_there = there.contains(Path::new(&file)) || there.contains(Path::new(&folder));
        assert!(is_there, "there is no module `{module}` any more: take it out of MAY_KNOW");
        let map = text("ARCHITECTURE.md");
        let is_told = map.contains(&format!("| `{module}` |")) || map.contains(&format!("| `{module}.rs` |"));
        assert!(is_told || *module == "lib", "ARCHITECTURE.md does not tell what `{module}` is for");
    }
}

#[test]
fn crates_are_used_only_where_they_may() {
    let mut faults = Vec::new();
    let mut uses = 0;
    for (path, code) in shipped_code() {
        let module = module_of(&path);
        for (name, allowed) in MAY_USE {
            for at in words(&code, name).filter(|at| names_a_crate(&code, *at, name)) {
                uses += 1;
                if !allowed.contains(&module.as_str()) {
                    let line = line_of(&code, at);
                    let allowed = allowed.join(", ");
                    faults
                        .push(format!("{path}:{line}: only {allowed} may name the crate `{name}` (MAY_USE)"));
                }
            }
        }
    }
    none(&faults, uses);
}

/// Code with a separate store could run a guest that the ticker does not count.
#[test]
fn guests_have_their_stores_from_one_file() {
    let mut files = shipped_code();
    files.retain(|(path, _)| path.starts_with("src/plugin/"));
    assert_eq!(with_word(&files, "Store::new"), ["src/plugin/instance/guest.rs"]);
}

#[test]
fn one_file_is_allowed_unsafe_code() {
    assert_eq!(with_word(&source_code(), "unsafe_code"), ["src/plugin/load/cache/mod.rs"]);
}

fn with_word<'a>(files: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    let named = files.iter().filter(|(_, code)| words(code, word).next().is_some());
    named.map(|(path, _)| path.as_str()).collect()
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let files = rust_files();
    let silent = files.iter().filter(|path| !text(path).starts_with("//!"));
    let faults: Vec<_> =
        silent.map(|path| format!("{path}: begin it with `//!` and what it is for")).collect();
    none(&faults, files.len());
}

/// Rustfmt and the compiler of the fuzz targets would find it only where they run.
#[test]
fn modules_included_by_path_are_there() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for path in files().iter().filter(|path| path.ends_with(".rs")) {
        let folder = root().join(path).parent().unwrap().to_owned();
        for line in text(path).lines() {
            let Some(rest) = line.trim_start().strip_prefix("#[path = \"") else { continue };
            let named = rest.split('"').next().unwrap_or_default();
            seen += 1;
            if !folder.join(named).is_file() {
                faults.push(format!("{path}: there is no {named}"));
            }
        }
    }
    none(&faults, seen);
}

#[test]
fn files_fit_their_length() {
    let files = rust_files();
    let lengths = files.iter().map(|path| (path, text(path).lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > MAX_FILE_LINES);
    let faults: Vec<_> = long
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {MAX_FILE_LINES}: split it"))
        .collect();
    none(&faults, files.len());
}

#[test]
fn nothing_made_or_secret_is_tracked() {
    let files = files();
    let extension = |path: &str| Path::new(path).extension().and_then(|ext| ext.to_str()).map(str::to_owned);
    let made = files
        .iter()
        .filter(|path| extension(path).is_some_and(|extension| NEVER_TRACKED.contains(&extension.as_str())));
    let faults: Vec<_> = made
        .map(|path| {
            format!("{path}: take it out (`git rm --cached`); tests and `lictor init` make what they need")
        })
        .collect();
    none(&faults, files.len());
}

#[test]
fn no_file_has_what_belongs_elsewhere() {
    let mut faults = Vec::new();
    let mut lines_seen = 0;
    for path in files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            lines_seen += 1;
            if path.ends_with("Cargo.lock") && line.starts_with("source = ") {
                continue;
            }
            for (begin, end, what) in FORBIDDEN_TEXT {
                if line.contains(&format!("{begin}{end}")) {
                    faults.push(format!("{path}:{number}: {begin}{end} is {what}"));
                }
            }
            for (begin, end) in FORBIDDEN_WORDS {
                let word = format!("{begin}{end}");
                if words(line, &word).next().is_some() {
                    faults.push(format!(
                        "{path}:{number}: {word}: do it, or say in words what is not there yet"
                    ));
                }
            }
        }
    }
    none(&faults, lines_seen);
}

#[test]
fn every_dependency_is_explained() {
    let named = named_in_tables(&text("docs/dependencies.md"));
    let mut wanted = BTreeSet::new();
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let table: toml::Table = text(manifest).parse().unwrap();
        wanted.extend(dependencies(&table));
    }
    let missing = wanted.difference(&named).map(|name| {
        format!(
            "docs/dependencies.md does not say what `{name}` is for: add its row, with what would replace it"
        )
    });
    let stale = named.difference(&wanted).map(|name| {
        format!("docs/dependencies.md explains `{name}`, which no Cargo.toml has: take its row out")
    });
    let faults: Vec<_> = missing.chain(stale).collect();
    none(&faults, wanted.len());
}

/// The fuzz targets are only built by hand, with another compiler, so a missing crate would go unnoticed.
#[test]
fn fuzz_targets_have_the_crates_of_what_they_take_in() {
    let table = |manifest: &str| text(manifest).parse::<toml::Table>().unwrap()["dependencies"].clone();
    let (ours, theirs) = (table("Cargo.toml"), table("fuzz/Cargo.toml"));
    let version = |table: &toml::Value, name: &str| {
        let dependency = table.get(name)?;
        dependency.get("version").unwrap_or(dependency).as_str().map(str::to_owned)
    };
    let taken_in = text("fuzz/lib.rs");
    let code: Vec<_> = shipped_code()
        .into_iter()
        .filter(|(path, _)| taken_in.contains(&format!("../src/{}", module_of(path))))
        .collect();
    let mut faults = Vec::new();
    for (module, known) in MAY_KNOW {
        let is_in = |module: &str| taken_in.contains(&format!("pub mod {module};"));
        let missing = known.iter().filter(|known| is_in(module) && !is_in(known));
        faults.extend(missing.map(|known| format!("`{module}` knows `{known}`: fuzz/lib.rs has to have it")));
    }
    for name in ours.as_table().unwrap().keys() {
        let ident = name.replace('-', "_");
        let names = |code: &str| words(code, &ident).any(|at| names_a_crate(code, at, &ident));
        let wanted = version(&ours, name);
        if let Some((path, _)) = code.iter().find(|(_, code)| names(code))
            && version(&theirs, name) != wanted
        {
            let wanted = wanted.unwrap_or_default();
            faults.push(format!("{path} uses `{name}`: fuzz/Cargo.toml has to have it, of version {wanted}"));
        }
    }
    none(&faults, code.len());
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        let folder = Path::new(path).parent().unwrap();
        for (line, link) in links(&text(path)) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            if !root().join(folder).join(target).exists() {
                faults.push(format!(
                    "{path}:{line}: there is no {target}; correct the link, or write the file"
                ));
            }
        }
    }
    none(&faults, seen);
}

#[test]
fn promises_have_the_tests_that_are_named_beside_them() {
    const PROMISES: &str = "docs/security.md";
    let mut there = BTreeSet::new();
    for path in rust_files() {
        let module = test_module_of(&path);
        there.extend(functions(&code_of(&text(&path))).iter().map(|name| format!("{module}::{name}")));
    }
    let named = named_tests(&text(PROMISES));
    let told =
        |name| format!("{PROMISES} names the test `{name}`, which is not there: name the one that shows it");
    let faults: Vec<_> = named.difference(&there).map(told).collect();
    none(&faults, named.len());
}

#[test]
fn every_bound_has_a_metric_and_every_metric_a_bound() {
    const TABLE: &str = "docs/limits.md";
    let table = text(TABLE);
    let bounds: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 5).collect();
    let rows = bounds.iter().filter(|row| !row.starts_with("| what grows |"));
    let mut faults: Vec<String> = rows
        .filter(|row| named_metrics(row).is_empty())
        .map(|row| format!("{TABLE}: no metric tells when this bound is met: {row}"))
        .collect();
    let (named, counted) = (named_metrics(&table), named_metrics(&text("src/telemetry/metrics/counters.rs")));
    faults.extend(named.difference(&counted).map(|name| format!("{TABLE}: there is no metric {name}")));
    faults.extend(counted.difference(&named).map(|name| format!("{TABLE} does not tell what {name} counts")));
    none(&faults, bounds.len());
}

/// Fails if there are faults, or if nothing was looked at.
#[track_caller]
fn none(faults: &[String], looked_at: usize) {
    assert!(looked_at > 0, "this check looked at nothing; does it still read the right files?");
    assert!(faults.is_empty(), "{} faults\n  {}", faults.len(), faults.join("\n  "));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lists the files that git tracks, or would if they were added, by their paths from the root.
fn files() -> Vec<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").current_dir(root()).args(arguments).output();
    let listed = listed.expect("these checks need git");
    assert!(listed.status.success(), "git lists no files: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let there = listed.split('\0').filter(|path| !path.is_empty() && root().join(path).is_file());
    there.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Returns the server's source files and their code.
fn source_code() -> Vec<(String, String)> {
    let files = rust_files().into_iter().filter(|path| path.starts_with("src/"));
    files.map(|path| (path.clone(), code_of(&text(&path)))).collect()
}

/// Returns the same without its tests.
fn shipped_code() -> Vec<(String, String)> {
    let shipped = source_code().into_iter().filter(|(path, _)| !is_of_tests(path));
    shipped.map(|(path, code)| (path, without_tests(&code))).collect()
}

fn is_of_tests(path: &str) -> bool {
    path.ends_with("_tests.rs") || path.ends_with("/tests.rs")
}

/// Returns the name of the module whose tests are in `path`: `b` for `a/b.rs` and for
/// `a/b/mod.rs`, `a/b/tests.rs` and `a/b/main.rs`.
fn test_module_of(path: &str) -> &str {
    let file = path.trim_end_matches(".rs");
    let module = ["/mod", "/tests", "/main"].iter().fold(file, |module, end| module.trim_end_matches(end));
    module.rsplit('/').next().unwrap()
}

/// Returns the top-level module that `src/…` belongs to.
fn module_of(path: &str) -> String {
    let below = path.strip_prefix("src/").unwrap();
    below.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}
