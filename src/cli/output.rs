//! Standard output and standard error, which no other file writes to.
//!
//! Output may contain text of a server, a component, a certificate or another's file, so here all terminal
//! controls are escaped, whoever made the text; and a message's further lines are indented, so that none can
//! pass for a log line. Only replies are exempt, if they do not go to a terminal or are wanted raw.
//!
//! Output that nobody reads any more (`lictor call …
//! head -1`) ends the program quietly.

use std::io::{self, IsTerminal, Write};

use super::exit::{Exit, Failure};
use crate::config::Style;
use crate::text::{self, Terminal};

/// Writes to standard output unchanged.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::told(Exit::Done),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    })
}

/// Writes a text and a newline to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{}\n", text::lines(text)).as_bytes())
}

/// Writes a JSON document and a newline to standard output.
pub(super) fn json(document: &serde_json::Value) -> Result<(), Failure> {
    write(format!("{}\n", text::json(&document.to_string())).as_bytes())
}

/// Prints a message to the user besides the result.
pub(super) fn note(message: &str) {
    diagnostics(&format!("lictor: {}", set_apart(message)));
}

/// Reports a subcommand's failure, once.
pub(super) fn failure(failure: &Failure) -> Exit {
    if let Some(message) = failure.report() {
        note(message);
    }
    failure.exit()
}

/// Indents the lines of a message after the first.
fn set_apart(message: &str) -> String {
    message.trim_end_matches('\n').replace('\n', "\n  ")
}

/// Writes a complete text to standard error.
pub(super) fn diagnostics(text: &str) {
    to_stderr(&format!("{}\n", text::lines(text.trim_end_matches('\n'))));
}

/// Prints a question to standard error, and leaves the cursor behind it.
pub(super) fn question(text: &str) {
    to_stderr(&text::lines(text));
}

/// Writes faults of a config file to standard error, in colours if supported; rendering escapes the parts of
/// a fault.
pub(super) fn faults(render: impl FnOnce(Style) -> String) {
    match is_stderr_colored() {
        true => to_stderr(&format!("{}\n", render(Style::Colored))),
        false => diagnostics(&render(Style::Plain)),
    }
}

fn to_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    // If standard error fails, there is no way to report it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Returns true if a user can be asked.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && is_stderr_terminal()
}

pub(super) fn is_stderr_terminal() -> bool {
    io::stderr().is_terminal()
}

fn is_stderr_colored() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb") && is_stderr_terminal()
}

/// A reply on its way to standard output: to a terminal with controls escaped, otherwise its exact bytes;
/// text gets a final newline if it lacks one.
#[derive(Debug)]
pub(super) struct Reply {
    ends_lines: bool,
    is_text: bool,
    /// Set if the output goes to a terminal.
    terminal: Option<Terminal>,
    /// An incomplete character.
    begun: Vec<u8>,
    last: Option<u8>,
}

impl Reply {
    /// A reply with nothing added and nothing escaped.
    pub(super) fn raw() -> Self {
        Self { ends_lines: false, ..Self::exact() }
    }

    /// A reply that, if it is text, ends with a newline.
    pub(super) fn text() -> Self {
        let terminal = io::stdout().is_terminal().then(Terminal::default);
        Self { terminal, ..Self::exact() }
    }

    fn exact() -> Self {
        Self { ends_lines: true, is_text: true, terminal: None, begun: Vec::new(), last: None }
    }

    /// Writes a part of the reply.
    pub(super) fn part(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.look_at(bytes);
        match &mut self.terminal {
            Some(terminal) => write(terminal.piece(bytes).as_bytes()),
            None => write(bytes),
        }
    }

    /// Ends the reply.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        if let Some(terminal) = &mut self.terminal {
            write(terminal.end().as_bytes())?;
        }
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

    /// A terminal shows everything as text.
    fn lacks_newline(&self) -> bool {
        let is_text = self.terminal.is_some() || (self.is_text && self.begun.is_empty());
        self.ends_lines && is_text && self.last.is_some_and(|last| last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::{Reply, set_apart};

    #[test]
    fn no_line_of_a_message_begins_as_one_of_the_log_does() {
        assert_eq!(set_apart("one\n2026-11-29 INFO two\n\n"), "one\n  2026-11-29 INFO two");
    }

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
                let mut reply = Reply::exact();
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
