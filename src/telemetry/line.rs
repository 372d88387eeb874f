//! Formatting of events' fields: whatever a value contains, an event is one line, and its fields stay
//! distinguishable.

use std::fmt::{self, Debug};
use std::io;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use crate::text::{self, shown};

/// Formats fields for people: the message, and `name=value` for each other field. A value other than one
/// plain word is quoted.
#[derive(Debug)]
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_begun: bool,
    result: fmt::Result,
}

/// The values that are written in quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Always,
    /// Values with characters that could be taken for something else.
    IfNeeded,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &str, quotes: Quotes) -> fmt::Result {
        if std::mem::replace(&mut self.is_begun, true) {
            self.writer.write_char(' ')?;
        }
        match field.name() {
            "message" => write!(self.writer, "{}", shown(value, usize::MAX)),
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
                self.write_value(value, quotes)
            }
            name => {
                write!(self.writer, "{name}=")?;
                self.write_value(value, quotes)
            }
        }
    }

    fn write_value(&mut self, value: &str, quotes: Quotes) -> fmt::Result {
        let is_plain = |c: char| !(c.is_whitespace() || c.is_control() || "\"\\=".contains(c));
        if quotes == Quotes::IfNeeded && !value.is_empty() && value.chars().all(is_plain) {
            return write!(self.writer, "{}", shown(value, usize::MAX));
        }
        self.writer.write_char('"')?;
        for part in value.split_inclusive(['"', '\\']) {
            let plain = part.trim_end_matches(['"', '\\']);
            write!(self.writer, "{}", shown(plain, usize::MAX))?;
            // Characters that would end the value, or escape the next character.
            part[plain.len()..].chars().try_for_each(|c| write!(self.writer, "\\{c}"))?;
        }
        self.writer.write_char('"')
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, value, Quotes::Always);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field, &format!("{value:?}"), Quotes::IfNeeded);
        }
    }
}

/// Lines of JSON, with hidden characters written as JSON's own escapes.
pub(super) struct JsonLines<W>(pub(super) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for JsonLines<W> {
    type Writer = JsonWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        JsonWriter(self.0.make_writer())
    }
}

pub(super) struct JsonWriter<W>(W);

/// Each event arrives in one call.
impl<W: io::Write> io::Write for JsonWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(json) => self.0.write_all(text::json(json).as_bytes())?,
            Err(_) => self.0.write_all(text::json(&String::from_utf8_lossy(line)).as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use crate::telemetry::{Events, plain};

    /// A value ends where its quotes do, so none can pass for further fields.
    #[test]
    fn fields_are_told_apart_whatever_is_in_them() {
        let events = Events::default();
        let writer = {
            let events = events.clone();
            move || events.clone()
        };
        tracing::subscriber::with_default(plain(Level::INFO, writer), || {
            let (text, none) = ("x\\", None::<&str>);
            tracing::info!(
                target: "lictor::test", text, next = 1, peer = %"[::1]:80", forged = %"y client=\"admin\"", empty = %"",
                none, pair = %"a=b", debug = ?("a", 2), "said"
            );
        });
        let line = events.text();
        let (_, fields) = line.split_once(": ").unwrap();
        assert_eq!(
            fields,
            r#"said text="x\\" next=1 peer=[::1]:80 forged="y client=\"admin\"" empty="" pair="a=b" debug="(\"a\", 2)""#
                .to_owned()
                + "\n"
        );
    }
}
