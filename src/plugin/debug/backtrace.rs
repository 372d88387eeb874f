//! Words for errors that a guest influenced: its names of functions and modules are in the backtrace.
//!
//! wasmtime shows a backtrace with each name demangled, and a mangled C++ name may expand to gigabytes, since
//! it can repeat its last part any number of times. So neither a backtrace nor a core dump is formatted by
//! wasmtime.

use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::io;

use rustix::io::Errno;
use wasmtime::{FrameInfo, OutOfMemory, WasmBacktrace};

use super::places::{Place, Places};
use crate::text::shown;

/// The beginnings of wasmtime's texts for these two.
const BACKTRACE: &str = "error while executing at wasm backtrace:";
const CORE_DUMP: &str = "wasm coredump generated";

/// Maximum bytes of one cause, which may quote the component, and of the words for one error.
const MAX_CAUSE_BYTES: usize = 16 << 10;
const MAX_WORDS_BYTES: usize = 2 * MAX_CAUSE_BYTES;

/// Maximum bytes of a name.
const MAX_NAME_BYTES: usize = 256;

/// Formats an error with all its causes, including the guest's backtrace, but without the core dump, which is
/// a cause as well.
pub(in crate::plugin) fn words(error: &wasmtime::Error) -> String {
    words_with(error, &Places::NONE)
}

/// Like [`words`], with the places of the backtrace's functions in the author's files.
pub(in crate::plugin) fn words_with(error: &wasmtime::Error, places: &Places) -> String {
    let causes = error.chain().filter_map(|cause| match begin_of(cause) {
        text if text.starts_with(CORE_DUMP) => None,
        text if text.starts_with(BACKTRACE) => backtrace(error, places),
        text => Some(text),
    });
    let mut words = causes.collect::<Vec<_>>().join(": ");
    words.truncate(words.floor_char_boundary(MAX_WORDS_BYTES));
    words
}

/// The place in the author's own files where `error` arose: the innermost of the backtrace's places that is
/// in one of them.
pub(in crate::plugin) fn authors_place(error: &wasmtime::Error, places: &Places) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let mut found = frames.iter().flat_map(|frame| places_of(frame, places));
    found.find(Place::is_authors).map(|place| place.to_string())
}

/// Returns true if the innermost function in the backtrace of `error` has a name. Those of QuickJS have none.
pub(in crate::plugin) fn names_functions(error: &wasmtime::Error) -> bool {
    let trace = error.downcast_ref::<WasmBacktrace>();
    trace.is_some_and(|trace| trace.frames().first().is_some_and(|frame| frame.func_name().is_some()))
}

/// Returns true if a cause of `error` is exactly one of these texts: a cause that only contains one may quote
/// the guest.
pub(in crate::plugin) fn says(error: &wasmtime::Error, texts: &[&str]) -> bool {
    error.chain().any(|cause| texts.contains(&&*begin_of(cause)))
}

/// The address in its memory at which a guest's read or write trapped, if known. wasmtime's type for it is
/// private; a test with a plugin that does so keeps the words true.
pub(in crate::plugin) fn fault_address(error: &wasmtime::Error) -> Option<u64> {
    error.chain().find_map(|cause| {
        let text = begin_of(cause);
        let (address, size) = text.strip_prefix("memory fault at wasm address 0x")?.split_once(' ')?;
        size.starts_with("in linear memory of size ").then(|| u64::from_str_radix(address, 16).ok())?
    })
}

/// Returns true if a cause of `error` is the system's lack of memory or threads.
pub(in crate::plugin) fn is_of_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match (cause.downcast_ref::<io::Error>(), cause.downcast_ref::<Errno>()) {
            (Some(error), _) => error.kind(),
            (None, Some(errno)) => errno.kind(),
            (None, None) => return cause.is::<OutOfMemory>(),
        };
        matches!(kind, io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock)
    })
}

/// Returns true if a cause of `error` is a refusal by the system.
pub(in crate::plugin) fn is_of_system(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.is::<io::Error>() || cause.is::<Errno>())
}

/// The text of `cause`, up to the bound.
fn begin_of(cause: &(dyn StdError + 'static)) -> String {
    let mut text = Bounded { text: String::new(), max_bytes: MAX_CAUSE_BYTES };
    // An error ends the formatting once the text takes no more.
    let _ = write!(text, "{cause}");
    text.text
}

/// A text of at most `max_bytes`, which takes no more than the beginning of a backtrace or a core dump.
struct Bounded {
    text: String,
    max_bytes: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let left = self.max_bytes - self.text.len();
        self.text.push_str(&more[..more.floor_char_boundary(left)]);
        let is_full = more.len() > left;
        let is_left = self.text.starts_with(BACKTRACE) || self.text.starts_with(CORE_DUMP);
        if is_full || is_left { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Formats the backtrace in `error` as wasmtime does, one frame a line, the innermost first. Functions
/// inlined into another have lines of their own.
pub(in crate::plugin) fn backtrace(error: &wasmtime::Error, places: &Places) -> Option<String> {
    let mut text = BACKTRACE.to_owned();
    for (number, frame) in error.downcast_ref::<WasmBacktrace>()?.frames().iter().enumerate() {
        let offset = frame.module_offset().map(|offset| format!("{offset:#8x} - ")).unwrap_or_default();
        let module = shortened(frame.module().name().unwrap_or("<unknown>"));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {number:>3}: {offset}{module}!");
        let places = places_of(frame, places);
        for (depth, place) in places.iter().enumerate() {
            // The outermost place is the function that exists in the component, under the frame's name.
            let name = match depth + 1 == places.len() {
                true => function(frame),
                false => shortened(place.function),
            };
            let before = if depth == 0 { "" } else { "\n         inlined into " };
            let _ = write!(text, "{before}{name} at {place}");
        }
        if places.is_empty() {
            text.push_str(&function(frame));
        }
    }
    Some(text)
}

fn places_of<'a>(frame: &FrameInfo, places: &'a Places) -> Vec<Place<'a>> {
    frame.module_offset().map(|offset| places.at(offset)).unwrap_or_default()
}

fn function(frame: &FrameInfo) -> String {
    frame.func_name().map_or_else(|| format!("<wasm function {}>", frame.func_index()), readable)
}

/// Demangles a function's name to the form that its author knows.
pub(in crate::plugin) fn readable(name: &str) -> String {
    rustc_demangle::try_demangle(name).map_or_else(|_| shortened(name), shortened)
}

/// Cuts `name` to the length for a line, made safe to show; also used for core dumps. Formatting of a name
/// that grows without bound is stopped.
pub(in crate::plugin) fn shortened(name: impl fmt::Display) -> String {
    let mut text = Bounded { text: String::new(), max_bytes: MAX_NAME_BYTES };
    let whole = write!(text, "{name}");
    if whole.is_err() {
        text.text.push('…');
    }
    shown(&text.text, MAX_NAME_BYTES).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_memory_are_told_by_what_they_are_and_not_by_what_they_say() {
        let io = |error: io::Error| wasmtime::Error::from(error).context("in the middle");
        assert!(is_of_memory(&io(io::ErrorKind::OutOfMemory.into())));
        assert!(is_of_memory(&io(io::Error::from_raw_os_error(12))));
        assert!(is_of_memory(&wasmtime::Error::from(Errno::NOMEM).context("mmap failed")));
        assert!(is_of_memory(&wasmtime::Error::from(OutOfMemory::new(8))));
        assert!(!is_of_memory(&wasmtime::Error::msg("Cannot allocate memory (os error 12)")));
        assert!(!is_of_memory(&io(io::ErrorKind::NotFound.into())));
    }

    #[test]
    fn a_name_is_written_up_to_its_limit() {
        for name in ["f", "", &"x".repeat(MAX_NAME_BYTES)] {
            assert_eq!(shortened(name), name);
        }
        assert_eq!(shortened("é".repeat(200)), "é".repeat(128) + "…");
        assert_eq!(shortened("a\x1b]0;x\x07\nb"), "a\\x1b]0;x\\x07\\nb");
        let name = "_ZN4core9panicking5panic17h0123456789abcdefE";
        let demangled = rustc_demangle::try_demangle(name).map(shortened).unwrap();
        assert_eq!(demangled, "core::panicking::panic::h0123456789abcdef");
    }

    #[test]
    fn a_backtrace_is_not_written_by_who_knows_how_to() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                writeln!(f, "{BACKTRACE}")?;
                panic!("went on")
            }
        }
        assert!(shortened(Endless).starts_with(BACKTRACE));
    }
}
