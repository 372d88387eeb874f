//! What goes to standard output and standard error.
//!
//! Output that nobody reads any more (`lictor call … | head -1`) ends the program quietly.

use std::io::{self, IsTerminal, Write};

use super::{Exit, Failure};

/// Writes to standard output.
pub(super) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::told(Exit::Done),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    })
}

/// Writes a text and the end of its line to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Tells the user something beside the result.
pub(super) fn note(message: &str) {
    diagnostics(&format!("lictor: {message}"));
}

/// Writes a text that is complete in itself to standard error.
pub(super) fn diagnostics(text: &str) {
    // There is nobody to tell that nobody can be told.
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

pub(super) fn is_stderr_colored() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb") && io::stderr().is_terminal()
}

/// A reply on its way to standard output: its exact bytes, and where they are text a newline that ends the
/// last line.
#[derive(Debug)]
pub(super) struct Reply {
    ends_lines: bool,
    is_text: bool,
    /// The begin of a character whose rest is yet to come.
    begun: Vec<u8>,
    last: Option<u8>,
}

impl Reply {
    /// A reply to which nothing is added.
    pub(super) fn raw() -> Self {
        Self { ends_lines: false, ..Self::text() }
    }

    /// A reply whose last line is ended if it is text.
    pub(super) fn text() -> Self {
        Self { ends_lines: true, is_text: true, begun: Vec::new(), last: None }
    }

    /// Writes a part of it.
    pub(super) fn part(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.look_at(bytes);
        write(bytes)
    }

    /// Ends it.
    pub(super) fn end(self) -> Result<(), Failure> {
        if self.lacks_newline() { write(b"\n") } else { Ok(()) }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        self.last = bytes.last().copied().or(self.last);
        if !self.is_text || !self.ends_lines {
            return;
        }
        self.begun.extend_from_slice(bytes);
        match std::str::from_utf8(&self.begun) {
            Ok(_) => self.begun.clear(),
            Err(error) if error.error_len().is_none() => drop(self.begun.drain(..error.valid_up_to())),
            Err(_) => self.is_text = false,
        }
    }

    fn lacks_newline(&self) -> bool {
        self.ends_lines
            && self.is_text
            && self.begun.is_empty()
            && self.last.is_some_and(|last| last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn only_text_gets_its_last_line_ended() {
        for (bytes, lacks) in [
            (&b""[..], false),
            (b"text", true),
            (b"text\n", false),
            ("é".as_bytes(), true),
            (b"\xff", false),
            (b"text\xc3", false),
            (b"a\xffb", false),
            (b"\0", true),
        ] {
            for size in 1..=bytes.len().max(1) {
                let mut reply = Reply::text();
                bytes.chunks(size).for_each(|part| reply.look_at(part));
                reply.look_at(b"");
                assert_eq!(reply.lacks_newline(), lacks, "{bytes:?} by {size}");
            }
            let mut raw = Reply::raw();
            raw.look_at(bytes);
            assert!(!raw.lacks_newline());
        }
    }
}
