//! Files named in a config: resolved from its folder, opened once, and checked for who could have written
//! them.

use std::cell::RefCell;
use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use crate::config::fields::{self, Field, Findings};
use crate::config::kept::files_of_state;
use crate::config::names::PluginName;
use crate::config::raw::RawPlugin;
use crate::config::secret::RawSetting;
use crate::config::source::Source;
use crate::config::values::PathText;
use crate::files::{Authors, Fault, Matters, Opened, Reason, Sightings};
use crate::identity::pem;
use crate::text::{InvalidText, shell_word};

/// The largest file of certificates or revocation lists.
const MOST_PEM_BYTES: u64 = 1 << 20;

/// The base of relative paths: the folder of the file in which they are written.
pub(super) struct Folder {
    source: Arc<Source>,
    authors: Authors,
    sightings: RefCell<Sightings>,
}

/// A file named in a config.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// The key, with its section.
    pub(super) key: &'a str,
    pub(super) path: &'a Spanned<PathText>,
    /// Advice on how to create such a file.
    pub(super) remedy: &'a str,
}

impl Folder {
    pub(super) fn of(findings: &Findings, authors: Authors) -> Self {
        let source = Arc::clone(findings.source());
        Self { source, authors, sightings: RefCell::default() }
    }

    /// Every file named, as it was before it was read.
    pub(super) fn into_sightings(self) -> Sightings {
        self.sightings.into_inner()
    }

    /// Resolves the path of a file or folder named in the config.
    pub(super) fn path(&self, text: &Spanned<PathText>) -> PathBuf {
        self.noted(text, Matters::Place)
    }

    /// Resolves the path of a file whose content the server uses.
    pub(super) fn content(&self, text: &Spanned<PathText>) -> PathBuf {
        self.noted(text, Matters::Content)
    }

    /// Watches a file that may or may not exist, and that is read elsewhere.
    pub(super) fn follow(&self, path: &Path) {
        self.sightings.borrow_mut().note(path, Matters::Content);
    }

    fn noted(&self, text: &Spanned<PathText>, matters: Matters) -> PathBuf {
        let path = self.source.file_at(text.span().start).beside(&text.get_ref().0);
        self.sightings.borrow_mut().note(&path, matters);
        path
    }

    /// Opens a file whose content the server uses. Reports its faults.
    pub(super) fn open(&self, named: Named<'_>, findings: &mut Findings) -> Option<Opened> {
        match self.look_at(named, findings) {
            Ok(opened) => Some(opened),
            Err(fault) => {
                named.report_fault(&fault, findings);
                None
            }
        }
    }

    /// Opens such a file when the config can do without it for now: reports only warnings.
    ///
    /// # Errors
    /// The fault of the file.
    pub(super) fn look_at(&self, named: Named<'_>, findings: &mut Findings) -> Result<Opened, Fault> {
        let opened = Opened::file(&self.content(named.path))?;
        let opened = self.authors.want(opened)?;
        self.tell(named, &opened, findings);
        Ok(opened)
    }

    /// Opens and parses such a file, which is PEM, with `read`. Reports its faults.
    pub(super) fn read_pem<T>(
        &self,
        named: Named<'_>,
        read: impl FnOnce(&[u8]) -> Result<T, InvalidText>,
        findings: &mut Findings,
    ) -> Option<T> {
        let opened = self.open(named, findings)?;
        let bytes = opened.bytes(MOST_PEM_BYTES);
        let bytes = bytes.map_err(|fault| named.report_fault(&fault, findings)).ok()?;
        if pem::holds_key(&bytes) {
            self.tell_of_loose(named, "a private key", &opened, findings);
        }
        read(&bytes).map_err(|invalid| named.report(invalid, findings)).ok()
    }

    /// Checks a file that holds a private key. The server need not own it, as with a group for TLS keys;
    /// others who may use it are only a warning.
    pub(super) fn look_at_key(&self, named: Named<'_>, findings: &mut Findings) {
        let opened = match Opened::file(&self.content(named.path)) {
            Ok(opened) => opened,
            Err(fault) => return named.report_fault(&fault, findings),
        };
        self.tell_of_loose(named, "a private key", &opened, findings);
        if let Err(fault) = opened.owned() {
            findings
                .warning("another user can use the server's private key")
                .at(named.path.span(), fault.what())
                .helps(fault.advice())
                .done();
        }
    }

    /// Checks the state file and SQLite's files beside it: the server trusts their content as its own.
    /// Missing ones are created for the server alone.
    pub(super) fn look_at_state(&self, path: &Spanned<PathText>, findings: &mut Findings) {
        let named = Named { key: "state.path", path, remedy: "name a plain file" };
        for file in files_of_state(&self.path(path)) {
            // Opens without reading: this very server may be using the file.
            match Opened::unread(&file).and_then(|opened| self.authors.want(opened)) {
                Ok(opened) => self.tell(named, &opened, findings),
                Err(fault) if fault.is_missing() => {}
                Err(fault) => named.report_fault(&fault, findings),
            }
        }
    }

    /// Checks a folder that belongs to the server alone. A missing one is created later, and an unusable one
    /// is not used.
    pub(super) fn look_at_own(
        &self,
        key: &str,
        path: &Path,
        span: Option<Range<usize>>,
        findings: &mut Findings,
    ) {
        if matches!(self.authors, Authors::Anybody) {
            return;
        }
        let (what, faults) = match Opened::folder(path).and_then(Opened::own) {
            Ok(opened) => {
                let loose = opened.warnings().into_iter().filter(|fault| findings.note_warning(fault));
                ("is a folder that others may replace", loose.collect())
            }
            Err(fault) if fault.is_missing() => return,
            Err(fault) => ("is not used", vec![fault]),
        };
        for fault in faults {
            let draft = findings.warning(format!("`{key}` {what}: {}", path.display()));
            let draft = match span.clone() {
                Some(span) => draft.at(span, fault.what()),
                None => draft.help(fault.what()),
            };
            draft.helps(fault.advice()).done();
        }
    }

    /// Checks the place of a socket that the server makes: its folder, which is made if it is missing, and
    /// that no other file is there.
    pub(super) fn look_at_socket(&self, path: &Path, span: Range<usize>, findings: &mut Findings) {
        if matches!(self.authors, Authors::Anybody) {
            return;
        }
        let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let fault = match Opened::folder(parent.unwrap_or(Path::new("."))).and_then(Opened::trusted) {
            Ok(_) => None,
            Err(fault) if fault.is_missing() => None,
            Err(fault) => Some((format!("its folder: {}", fault.what()), fault.advice())),
        };
        let is_other = |file: &Metadata| !file.file_type().is_socket();
        let fault = fault.or_else(|| {
            path.symlink_metadata().ok().filter(is_other)?;
            Some((
                "a file that is no socket is there".to_owned(),
                Some("name a path at which there is no file".to_owned()),
            ))
        });
        if let Some((what, advice)) = fault {
            let shown = path.display();
            let fault =
                findings.error(format!("`admin.listen` names a socket that can't be opened: {shown}"));
            fault.at(span, what).helps(advice).done();
        }
    }

    /// Opens a file that holds a secret, as [`look_at`](Self::look_at) does. Warns if others can use it.
    ///
    /// # Errors
    /// The fault of the file.
    pub(super) fn look_at_secret(&self, named: Named<'_>, findings: &mut Findings) -> Result<Opened, Fault> {
        let opened = Opened::file(&self.content(named.path))?;
        let opened = self.authors.want(opened)?;
        // A group that may write to it is among the others.
        self.tell_of_loose(named, "a secret", &opened, findings);
        for fault in opened.warnings() {
            if matches!(fault.reason, Reason::LooseFolder { .. }) && findings.note_warning(&fault) {
                named.warn(&fault, findings);
            }
        }
        Ok(opened)
    }

    fn tell(&self, named: Named<'_>, opened: &Opened, findings: &mut Findings) {
        for fault in opened.warnings() {
            if findings.note_warning(&fault) {
                named.warn(&fault, findings);
            }
        }
    }

    /// Warns if users other than its owner can use a file that holds `what`. Warns once, since a key and its
    /// certificate may be in the same file.
    pub(super) fn tell_of_loose(
        &self,
        named: Named<'_>,
        what: &str,
        opened: &Opened,
        findings: &mut Findings,
    ) {
        if !opened.is_for_others() || !findings.note_told(opened.path()) {
            return;
        }
        let key = named.key;
        findings
            .warning(format!("`{key}` names {what} that users other than its owner can use"))
            .at(named.path.span(), format!("the mode of this file is {:03o}", opened.mode() & 0o777))
            .help(close_to_others(opened.path()))
            .done();
    }
}

impl Named<'_> {
    /// Reports that the file's content is unusable.
    pub(super) fn report(self, invalid: InvalidText, findings: &mut Findings) {
        let remedy = format!("{}; or correct the path, which starts at this file's folder", self.remedy);
        self.draft(invalid.what, [invalid.advice, Some(remedy)], findings);
    }

    /// Reports a fault of the file itself. Advice on how to create it is given only if it is missing, not if
    /// somebody else may have written it.
    pub(super) fn report_fault(self, fault: &Fault, findings: &mut Findings) {
        match fault.advice() {
            Some(advice) => self.draft(fault.what(), [Some(advice), None], findings),
            None => self.report(InvalidText::new(fault.what()), findings),
        }
    }

    fn draft(self, what: String, help: [Option<String>; 2], findings: &mut Findings) {
        let (key, file) = (self.key, self.path.get_ref().0.display());
        let draft = findings.error(format!("`{key}` names a file that can't be used: {file}"));
        let [first, second] = help;
        draft.at(self.path.span(), what).helps(first).helps(second).done();
    }

    fn warn(self, fault: &Fault, findings: &mut Findings) {
        let (key, file) = (self.key, self.path.get_ref().0.display());
        let draft = findings.warning(format!("`{key}` names a file that others may change: {file}"));
        draft.at(self.path.span(), fault.what()).helps(fault.advice()).done();
    }
}

/// The command by which a file becomes its owner's alone.
pub(super) fn close_to_others(path: &Path) -> String {
    format!("`chmod 600 {}`", shell_word(&path.to_string_lossy()))
}

/// Checks who may write and who may read a file of the config that has `plugins`. `start` is the offset of an
/// included file.
pub(in crate::config) fn look_at_file(
    opened: &Opened,
    plugins: &Field<fields::Named<PluginName, RawPlugin>>,
    start: Option<usize>,
    findings: &mut Findings,
) {
    for fault in opened.warnings() {
        if !findings.note_warning(&fault) {
            continue;
        }
        let draft = findings.warning(format!("others may change this config file: {}", fault.what()));
        let draft = match start {
            Some(start) => draft.at(start..start, "this file"),
            None => draft,
        };
        draft.helps(fault.advice()).done();
    }
    let plugins = plugins.value().into_iter().flat_map(|named| &named.entries);
    let with_config = plugins.filter_map(|(name, raw)| Some((name, raw.get_ref().config.given()?)));
    let is_text = |(_, raw): &(_, Spanned<RawSetting>)| matches!(raw.get_ref(), RawSetting::Text(_));
    let with_settings =
        with_config.into_iter().find(|(_, config)| config.get_ref().entries.iter().any(is_text));
    if let (Some((name, config)), true) = (with_settings, opened.mode() & 0o004 != 0) {
        let at = format!("{}.config", name.get_ref().key());
        findings
            .warning(format!("any user of this machine can read `{at}`, and any secrets in it"))
            .at(config.span(), format!("the mode of this file is {:03o}", opened.mode()))
            .help(format!("`chmod o-r {}`", shell_word(&opened.path().to_string_lossy())))
            .done();
    }
}
