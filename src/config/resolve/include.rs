//! `include`: further files with roles, clients and plugins, as if they stood in the main file.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::folder::look_at_file;
use crate::config::fields::{Field, Findings, Named};
use crate::config::files::{MOST_CONFIG_BYTES, Reading, utf8};
use crate::config::key_text;
use crate::config::raw::{self, RawConfig, RawIncluded};
use crate::config::values::IncludePattern;
use crate::files::{Fault, FileId, Matters, Opened, Reason, Sightings};
use crate::text::{Glob, InvalidText, shown};

/// The most included files.
const MOST_FILES: usize = 10_000;

/// The longest path in a message, in characters.
const MOST_PATH_CHARS: usize = 200;

/// The files that a config includes.
pub(super) struct Included {
    pub(super) paths: Vec<PathBuf>,
    /// The patterns that name them, each with its folder.
    pub(super) patterns: Vec<PathBuf>,
}

/// Adds to `raw`, the config file at `main`, everything that the files it includes hold.
/// Each file and folder is recorded in `sightings` before it is read.
pub(super) fn read(
    main: &Path,
    raw: &mut RawConfig,
    reading: Reading<'_>,
    (sightings, findings): (&mut Sightings, &mut Findings),
) -> Included {
    let mut includes = Includes {
        main,
        main_id: FileId::at(main),
        reading,
        sightings,
        left: MOST_CONFIG_BYTES,
        known: HashMap::new(),
        real: HashSet::new(),
        included: Included { paths: Vec::new(), patterns: Vec::new() },
    };
    let include = std::mem::take(&mut raw.include);
    for pattern in include.value().into_iter().flat_map(|list| &list.items) {
        includes.add(pattern, raw, findings);
    }
    raw.include = include;
    report_twice("roles", &mut raw.roles, findings);
    report_twice("clients", &mut raw.clients, findings);
    report_twice("plugins", &mut raw.plugins, findings);
    includes.included
}

/// Returns the paths of the files that the config at `main` includes and that can be read.
pub(in crate::config) fn included_files(
    main: &Path,
    raw: &mut RawConfig,
    reading: Reading<'_>,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    read(main, raw, reading, (&mut Sightings::default(), findings)).paths
}

/// Returns the path by which the config at `main` would include `file`, which does not exist yet.
///
/// # Errors
///
/// No pattern fits; returns the patterns.
pub(in crate::config) fn included_path(
    main: &Path,
    raw: &RawConfig,
    file: &Path,
) -> Result<PathBuf, Vec<String>> {
    let beside = main.parent().unwrap_or(Path::new(""));
    let (folder, name) = (folder_id(file.parent().unwrap_or(Path::new(""))), file.file_name());
    let patterns = raw.include.value().into_iter().flat_map(|list| &list.items).map(Spanned::get_ref);
    let fitting = patterns.clone().find_map(|pattern| {
        let name = name?.to_str().filter(|name| fits(&pattern.name, name))?;
        let meant = beside.join(&pattern.folder);
        (folder.is_some() && folder_id(&meant) == folder).then(|| meant.join(name))
    });
    fitting.ok_or_else(|| patterns.map(|IncludePattern { folder, name }| told(&folder.join(name))).collect())
}

fn folder_id(folder: &Path) -> Option<FileId> {
    FileId::at(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// Returns true if the pattern of names fits `name`. Names that begin with a dot need a pattern that does so
/// too: editors keep such files beside those they edit.
fn fits(pattern: &str, name: &str) -> bool {
    let mut glob = Glob::default();
    glob.push_wild(pattern);
    glob.matches(name) && (pattern.starts_with('.') || !name.starts_with('.'))
}

struct Includes<'a> {
    main: &'a Path,
    main_id: Option<FileId>,
    reading: Reading<'a>,
    sightings: &'a mut Sightings,
    /// The bytes that may still be read.
    left: u64,
    /// The files that were read, with their paths as given.
    known: HashMap<FileId, PathBuf>,
    /// Their paths without links.
    real: HashSet<PathBuf>,
    included: Included,
}

impl Includes<'_> {
    /// Adds the files that match `pattern`, in the order of their names.
    fn add(&mut self, pattern: &Spanned<IncludePattern>, raw: &mut RawConfig, findings: &mut Findings) {
        let IncludePattern { folder, name } = pattern.get_ref();
        let beside = self.main.parent().unwrap_or(Path::new(""));
        let folder = beside.join(folder);
        let names = match name.contains('*') {
            true => {
                self.included.patterns.push(folder.join(name));
                self.matching(&folder, pattern, findings)
            }
            false => vec![name.clone()],
        };
        let mut paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
        if let Some((new, _)) = self.reading.edited
            && new.parent() == Some(&*folder)
            && new.file_name().is_some_and(|new| fits(name, &new.to_string_lossy()))
            && !paths.iter().any(|path| path == new)
        {
            paths.push(new.to_owned());
        }
        let mut is_any = false;
        for path in paths {
            is_any |= self.add_file(path, pattern.span(), raw, findings);
        }
        if !is_any {
            findings
                .warning(format!("no file matches `{}`", told(&pattern.get_ref().folder.join(name))))
                .at(pattern.span(), "nothing is included")
                .help(format!("the path starts at this file's folder: this is {}", told(&folder.join(name))))
                .done();
        }
    }

    /// Returns the names in `folder` that match.
    fn matching(
        &mut self,
        folder: &Path,
        pattern: &Spanned<IncludePattern>,
        findings: &mut Findings,
    ) -> Vec<String> {
        let name = &pattern.get_ref().name;
        let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        self.sightings.note(shown, Matters::Entries);
        let opened = Opened::folder(shown).and_then(|opened| self.reading.authors.want(opened));
        let listed = opened.and_then(|opened| {
            warn_of_writers(&opened, pattern.span(), findings);
            opened.names()
        });
        let listed = match listed {
            Ok(listed) => listed,
            Err(fault) if fault.is_missing() => Vec::new(),
            Err(fault) => {
                report(&fault, shown, pattern.span(), findings);
                Vec::new()
            }
        };
        let mut names = Vec::new();
        for other in listed.into_iter().filter(|other| fits(name, &other.to_string_lossy())) {
            match other.into_string() {
                Ok(name) => names.push(name),
                Err(other) => {
                    let invalid = InvalidText::new("its name is not UTF-8").advise("give it another name");
                    refuse(invalid, &folder.join(other), pattern.span(), findings);
                }
            }
        }
        names.sort_unstable();
        names
    }

    /// Adds the file at `path`, which `span` names; returns false if there is none.
    fn add_file(
        &mut self,
        path: PathBuf,
        span: Range<usize>,
        raw: &mut RawConfig,
        findings: &mut Findings,
    ) -> bool {
        self.sightings.note(&path, Matters::Content);
        let opened = Opened::file(&path).and_then(|opened| self.reading.authors.want(opened));
        let opened = match opened {
            Ok(opened) => opened,
            Err(fault) if fault.reason == Reason::Missing && std::fs::symlink_metadata(&path).is_err() => {
                let new = self.reading.edited.filter(|(edited, _)| *edited == path);
                let Some((_, text)) = new else { return false };
                if !self.included.paths.contains(&path) {
                    join(raw, raw::read_included(&path, text, findings).0);
                    self.included.paths.push(path);
                }
                return true;
            }
            Err(fault) => {
                report(&fault, &path, span, findings);
                return true;
            }
        };
        // Two patterns match it, perhaps with other spellings of its folder.
        if self.real.contains(opened.real_path()) {
            return true;
        }
        let text = match self.text(&opened, &path) {
            Ok(text) => text,
            Err(invalid) => {
                refuse(invalid, &path, span, findings);
                return true;
            }
        };
        self.known.insert(opened.id(), path.clone());
        self.real.insert(opened.real_path().to_owned());
        let (included, start) = raw::read_included(&path, &text, findings);
        self.included.paths.push(path);
        if let Some(included) = &included {
            look_at_file(&opened, &included.plugins, Some(start), findings);
        }
        join(raw, included);
        true
    }

    /// Reads the text of an included file that was opened at `path`.
    fn text(&mut self, opened: &Opened, path: &Path) -> Result<String, InvalidText> {
        if self.main_id == Some(opened.id()) {
            let advice = "give the included files names or a folder of their own, such as \"conf.d/*.toml\"";
            return Err(InvalidText::new("this is the main file itself").advise(advice));
        }
        if let Some(other) = self.known.get(&opened.id()) {
            let what = format!("this is {} under another name", told(other));
            return Err(InvalidText::new(what).advise("leave one of them out"));
        }
        if self.known.len() == MOST_FILES {
            return Err(InvalidText::new(format!("more than {MOST_FILES} files are included"))
                .advise("put several clients or plugins into one file"));
        }
        if let Some((_, text)) = self.reading.edited.filter(|(edited, _)| *edited == path) {
            return Ok(text.to_owned());
        }
        let bytes = opened.bytes(self.left).map_err(|fault| {
            let what = match fault.reason {
                Reason::TooLarge { .. } => {
                    format!("all included files together have more than {} MiB", MOST_CONFIG_BYTES >> 20)
                }
                _ => fault.what(),
            };
            InvalidText { what, advice: fault.advice() }
        })?;
        self.left -= bytes.len() as u64;
        utf8(bytes, "the file")
    }
}

fn told(path: &Path) -> String {
    shown(&path.to_string_lossy(), MOST_PATH_CHARS).to_string()
}

fn warn_of_writers(folder: &Opened, span: Range<usize>, findings: &mut Findings) {
    for fault in folder.warnings() {
        let is_own = matches!(fault.reason, Reason::GroupWritable { .. });
        let loose = folder.path().canonicalize().ok().filter(|_| is_own);
        let is_first = match &loose {
            Some(loose) => findings.note_told(loose),
            None => findings.note_warning(&fault),
        };
        if !is_first {
            continue;
        }
        let what = format!("others may add files to the included folder {}", told(folder.path()));
        findings.warning(what).at(span.clone(), fault.what()).helps(fault.advice()).done();
    }
}

fn report(fault: &Fault, path: &Path, span: Range<usize>, findings: &mut Findings) {
    refuse(InvalidText { what: fault.what(), advice: fault.advice() }, path, span, findings);
}

fn refuse(invalid: InvalidText, path: &Path, span: Range<usize>, findings: &mut Findings) {
    let what = format!("{} can't be included", told(path));
    findings.error(what).at(span, invalid.what).helps(invalid.advice).done();
}

/// Adds the sections of an included file; `None` if it can't be read.
fn join(raw: &mut RawConfig, included: Option<RawIncluded>) {
    let RawIncluded { roles, clients, plugins } = included.unwrap_or(RawIncluded {
        roles: Field::Faulty,
        clients: Field::Faulty,
        plugins: Field::Faulty,
    });
    join_named(&mut raw.roles, roles);
    join_named(&mut raw.clients, clients);
    join_named(&mut raw.plugins, plugins);
}

fn join_named<K, V>(field: &mut Field<Named<K, V>>, more: Field<Named<K, V>>) {
    match (&mut *field, more) {
        (_, Field::Absent) => {}
        (Field::Given(known), Field::Given(more)) => {
            let (known, more) = (known.get_mut(), more.into_inner());
            known.entries.extend(more.entries);
            known.whole &= more.whole;
        }
        (Field::Given(known), Field::Faulty) => known.get_mut().whole = false,
        (Field::Absent, more) => *field = more,
        (Field::Faulty, Field::Faulty) => {}
        (Field::Faulty, Field::Given(mut more)) => {
            more.get_mut().whole = false;
            *field = Field::Given(more);
        }
    }
}

/// Reports names that stand in two files, and leaves the later ones out.
fn report_twice<K: Hash + Eq + Clone + AsRef<str>, V>(
    section: &str,
    field: &mut Field<Named<K, V>>,
    findings: &mut Findings,
) {
    let Field::Given(named) = field else { return };
    let mut places: HashMap<K, Range<usize>> = HashMap::new();
    named.get_mut().entries.retain(|(name, _)| {
        let Some(earlier) = places.get(name.get_ref()) else {
            places.insert(name.get_ref().clone(), name.span());
            return true;
        };
        let key = key_text(name.get_ref().as_ref());
        findings
            .error(format!("[{section}.{key}] stands twice"))
            .at(name.span(), "and again here")
            .at(earlier.clone(), "here")
            .help("remove one of them, or give one another name")
            .done();
        false
    });
}
