//! Panics: the message and the place go to the server's log before the instance traps.

use std::panic::{Location, PanicHookInfo, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{host, output};

/// Logs every panic from now on. Cheap after the first time.
#[cfg_attr(test, expect(dead_code, reason = "tests keep the hook that they have"))]
pub(crate) fn tell() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        // A function has no size, so the box does not allocate.
        set_hook(Box::new(print));
    }
}

fn print(info: &PanicHookInfo<'_>) {
    output::flush();
    let words = info.payload_as_str().unwrap_or("a value that is no text");
    // Not `output::print`: every plugin has this code, and another import would cost each fresh instance.
    host::output::print(&line(words, info.location()));
}

fn line(words: &str, place: Option<&Location<'_>>) -> String {
    let mut line = String::from("panicked");
    if let Some(place) = place {
        line.push_str(" at ");
        line.push_str(place.file());
        line.push(':');
        push_number(&mut line, place.line());
    }
    line.push_str(": ");
    line.push_str(words);
    line
}

/// Appends in decimal. The standard library's formatting would be in every plugin for this one number.
fn push_number(line: &mut String, number: u32) {
    if number >= 10 {
        push_number(line, number / 10);
    }
    line.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line() {
        let here = Location::caller();
        assert_eq!(line("no", Some(here)), format!("panicked at {}:{}: no", here.file(), here.line()));
        assert_eq!(line("no", None), "panicked: no");
    }
}
