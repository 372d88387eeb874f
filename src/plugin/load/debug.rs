//! The debug file beside a component: read and handed, unparsed, to the compiler's process, which returns the
//! table of places.
//!
//! A plugin works the same without it. So a faulty debug file costs the places alone, and the fault is
//! reported.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::blocking::blocking;
use super::cache::{Draft, PLACES};
use super::compiler::{self, Uncompiled, Work};
use crate::files::{Fault, Opened, Reason, debug_file};
use crate::plugin::debug::places::Places;
use crate::plugin::engine::Engine;
use crate::plugin::spec::Spec;
use crate::telemetry::metrics::Counter;
use crate::text::shown;
use crate::units::size;

/// Characters that are shown of a debug file's fault.
const MAX_WORDS_CHARS: usize = 400;

/// Advice for a debug file that says nothing about the component.
const PUT_ANEW: &str =
    "put the component and its debug file of one build side by side, or remove the debug file";

/// Advice for a debug file that says too much.
const LESS: &str =
    "build with less debug information (in Rust `debug = \"line-tables-only\"`), or remove the debug file";

/// Reason for which a debug file is not used, and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugFault {
    /// The file and its fault.
    pub what: String,
    /// The advice.
    pub help: String,
}

impl DebugFault {
    /// Logs the fault, if no config warns of it.
    pub fn log(&self) {
        let Self { what, help } = self;
        tracing::warn!(target: "lictor::plugin", what, help, "the debug file is not used");
    }

    fn new(spec: &Spec, what: &str, help: &str) -> Self {
        let path = debug_file(&spec.component);
        let what = format!("{}: {what}", path.display());
        Self { what: shown(&what, MAX_WORDS_CHARS).to_string(), help: help.to_owned() }
    }
}

/// The SHA-256 of a debug file, if there is one that can be read.
pub(in crate::plugin) type Seen = Result<Option<[u8; 32]>, DebugFault>;

/// A debug file as it was when its plugin was loaded, and the places read from it.
pub(in crate::plugin) struct Debug {
    seen: Seen,
    places: Result<Places, DebugFault>,
}

impl Debug {
    /// Reads the debug file beside the component of `spec`, whose bytes and hash are given. Dropping the
    /// future ends the process that reads the file.
    pub(in crate::plugin) async fn of(
        engine: &Arc<Engine>,
        spec: &Spec,
        (bytes, sha256): (&[u8], &[u8; 32]),
    ) -> Self {
        let reading = spec.clone();
        let read = blocking(move || Ok(read(&reading))).await;
        match read.unwrap_or_else(|words| Err(DebugFault::new(spec, &words, PUT_ANEW))) {
            Ok(None) => Self { seen: Ok(None), places: Ok(Places::NONE) },
            Ok(Some(debug)) => {
                // The hash of both: neither file identifies the other.
                let both = Sha256::digest([*sha256, debug.sha256].concat()).into();
                let places = places(engine, spec, (bytes, &debug.bytes), both).await;
                let places = places.map_err(|(words, help)| DebugFault::new(spec, &words, help));
                Self { seen: Ok(Some(debug.sha256)), places }
            }
            Err(fault) => Self { seen: Err(fault.clone()), places: Err(fault) },
        }
    }

    /// Returns true if the file has not changed since.
    pub(in crate::plugin) fn is_of_its_file(&self, spec: &Spec) -> bool {
        self.seen == read(spec).map(|debug| debug.map(|debug| debug.sha256))
    }

    /// Returns the places; none if they are unknown.
    pub(in crate::plugin) fn places(&self) -> &Places {
        static NONE: Places = Places::NONE;
        self.places.as_ref().unwrap_or(&NONE)
    }

    /// Returns the file's fault.
    pub(in crate::plugin) fn fault(&self) -> Option<&DebugFault> {
        self.places.as_ref().err()
    }
}

/// A debug file's bytes.
struct Read {
    bytes: Vec<u8>,
    sha256: [u8; 32],
}

/// Reads the debug file, if there is one.
fn read(spec: &Spec) -> Result<Option<Read>, DebugFault> {
    let most = spec.compiling.component_bytes as u64;
    let opened = Opened::file(&debug_file(&spec.component)).and_then(|file| spec.authors.want(file));
    match opened.and_then(|file| file.bytes(most)) {
        Ok(bytes) => {
            let sha256 = Sha256::digest(&bytes).into();
            Ok(Some(Read { bytes, sha256 }))
        }
        Err(fault) if fault.is_missing() => match is_link(&debug_file(&spec.component)) {
            true => Err(DebugFault::new(spec, "it is a dangling symbolic link", PUT_ANEW)),
            false => Ok(None),
        },
        Err(Fault { reason: Reason::TooLarge { .. }, .. }) => {
            Counter::ComponentsTooLarge.count();
            let what = format!("it is larger than component_size = {}", size(most));
            Err(DebugFault::new(spec, &what, LESS))
        }
        Err(fault) => {
            let help = fault.advice().unwrap_or_else(|| PUT_ANEW.to_owned());
            Err(DebugFault::new(spec, &fault.what(), &help))
        }
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink())
}

/// Returns the places that a debug file gives for its component, from the cache or read now; `both` is the
/// key of the two files in the cache. Otherwise returns the reason why there are none, and advice.
async fn places(
    engine: &Arc<Engine>,
    spec: &Spec,
    (component, debug): (&[u8], &[u8]),
    both: [u8; 32],
) -> Result<Places, (String, &'static str)> {
    let failed = |words: String| (words, PUT_ANEW);
    if let Some(words) = engine.hopeless().words(&both, &spec.compiling) {
        return Err((words, LESS));
    }
    let within = Arc::clone(engine);
    let found = blocking(move || match within.places_before(&both) {
        Some(places) => Ok(Found::Places(places)),
        None => within.draft(&both, PLACES).map(Found::Draft).map_err(|error| error.to_string()),
    });
    let draft = match found.await.map_err(failed)? {
        Found::Places(places) => return Ok(places),
        Found::Draft(draft) => draft,
    };
    let output = draft.output().map_err(|error| failed(error.to_string()))?;
    let work = Work::Places { debug_bytes: debug.len() };
    let run = compiler::run(&spec.compiling, &work, &[component, debug], output).await;
    run.map_err(|uncompiled| match uncompiled {
        Uncompiled::Invalid(words) => failed(words),
        Uncompiled::Exceeding(words) => {
            engine.hopeless().add(both, &spec.compiling, &words);
            (words, LESS)
        }
        Uncompiled::Failed(words) => (words, LESS),
    })?;
    blocking(move || draft.places().map_err(|error| error.to_string())).await.map_err(failed)
}

/// The places, or a file for their table.
enum Found {
    Places(Places),
    Draft(Draft),
}
