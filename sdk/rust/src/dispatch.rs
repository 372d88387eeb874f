//! From the host's call to an author's function: finds the command, hands out its arguments, and reports
//! errors in them.
//!
//! The macro `plugin` makes a [`Command`] of each function, and a call of [`Arguments`] of each of its
//! parameters. The rest is here once, rather than in each plugin's own code. Nothing here allocates unless
//! the call fails.

use std::ops::Range;

use crate::argument::FromArgument;
use crate::bindings::exports::lictor::plugin::commands::{CommandInfo, Failure as WireFailure, Guest};
use crate::bindings::exports::lictor::plugin::worker::Guest as Worker;
use crate::bindings::lictor::plugin::queue;
use crate::failure::Failure;
use crate::output;

/// A command, as the macro `plugin` describes it.
#[derive(Debug)]
pub struct Command {
    /// Name: the first argument, which selects the command.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// Usage line: `greet NAME [TIMES]`.
    pub usage: &'static str,
    /// Running the command twice has the same effect as running it once.
    pub idempotent: bool,
    /// Reads the arguments and calls the author's function.
    pub run: fn(Arguments<'_>) -> Result<Vec<u8>, Failure>,
}

/// A plugin: its commands. Implemented by the macro `plugin`.
#[doc(hidden)]
pub trait Plugin {
    const COMMANDS: &'static [Command];
}

impl<P: Plugin> Guest for P {
    fn describe() -> Vec<CommandInfo> {
        before_any_author_code();
        P::COMMANDS.iter().map(info).collect()
    }

    fn handle(mut arguments: Vec<String>) -> Result<Vec<u8>, WireFailure> {
        before_any_author_code();
        let (name, arguments) = split(&mut arguments);
        let answer = run(P::COMMANDS, name, arguments).map_err(Into::into);
        output::flush();
        answer
    }
}

impl<P: Plugin> Worker for P {
    fn run() {
        before_any_author_code();
        let mut block = Block::new(Vec::new());
        let mut arguments = Vec::new();
        let mut answer: Option<Result<Vec<u8>, WireFailure>> = None;
        loop {
            let next = match &answer {
                // The common case.
                Some(Ok(reply)) if !block.is_done() => match queue::reply(reply) {
                    true => None,
                    false => queue::next(None),
                },
                answer => queue::next(answer.as_ref().map(Result::as_deref)),
            };
            if let Some(next) = next {
                block = Block::new(next);
            }
            let name = block.next(&mut arguments);
            answer = Some(run(P::COMMANDS, name, &mut arguments).map_err(Into::into));
            output::flush();
        }
    }
}

/// Requests as `queue` hands them over. The host's blocks are complete; a torn one is not treated specially.
struct Block {
    bytes: Vec<u8>,
    at: usize,
}

impl Block {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the name of the next request's command; none if the request lacks one. Its `arguments` replace
    /// those of the previous request and reuse their memory, where the command left it.
    fn next(&mut self, arguments: &mut Vec<String>) -> Option<&str> {
        let count = self.number();
        let name = (count > 0).then(|| self.range());
        let count = count.saturating_sub(1);
        arguments.truncate(count);
        for at in 0..count {
            let text = self.range();
            let text = text_of(&self.bytes, text);
            match arguments.get_mut(at) {
                Some(argument) => {
                    argument.clear();
                    argument.push_str(text);
                }
                None => arguments.push(text.into()),
            }
        }
        name.map(|name| text_of(&self.bytes, name))
    }

    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Range of the next text.
    fn range(&mut self) -> Range<usize> {
        let length = self.number();
        let from = self.at;
        self.at += length;
        from..self.at
    }

    fn number(&mut self) -> usize {
        let from = self.at;
        self.at += 4;
        let bytes = self.bytes.get(from..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }
}

fn text_of(bytes: &[u8], range: Range<usize>) -> &str {
    // SAFETY: the host gives UTF-8 here, as in every string of the component model, also unchecked.
    unsafe { str::from_utf8_unchecked(bytes.get(range).unwrap_or_default()) }
}

pub(crate) fn before_any_author_code() {
    #[cfg(target_family = "wasm")]
    crate::panic::tell();
}

fn info(command: &Command) -> CommandInfo {
    CommandInfo {
        name: command.name.into(),
        summary: command.summary.into(),
        usage: command.usage.into(),
        idempotent: command.idempotent,
    }
}

/// Splits off the command's name, if there is one, from its arguments.
pub(crate) fn split(arguments: &mut [String]) -> (Option<&str>, &mut [String]) {
    match arguments.split_first_mut() {
        Some((name, arguments)) => (Some(name), arguments),
        None => (None, &mut []),
    }
}

/// Runs the command `name` with `arguments`.
pub(crate) fn run(
    commands: &'static [Command],
    name: Option<&str>,
    arguments: &mut [String],
) -> Result<Vec<u8>, Failure> {
    let command = find(commands, name, |command| command.name)?;
    (command.run)(Arguments::new(arguments, command.usage)).map_err(Failure::told)
}

/// Returns the command `name`. `name_of` returns a command's name.
///
/// A plugin's only command answers to any name, since the operator may have routed another name to it.
pub(crate) fn find<C>(
    commands: &'static [C],
    name: Option<&str>,
    name_of: fn(&C) -> &'static str,
) -> Result<&'static C, Failure> {
    let Some(name) = name else { return Err(Failure::bad_arguments("there is no command")) };
    match commands {
        [only] => Ok(only),
        _ => match commands.iter().find(|command| name_of(command) == name) {
            Some(command) => Ok(command),
            None => Err(unknown(name, commands.iter().map(name_of).collect())),
        },
    }
}

#[cold]
fn unknown(name: &str, commands: Vec<&str>) -> Failure {
    let words = ["this plugin has no command ", name, ", only ", &commands.join(", ")];
    Failure::bad_arguments(words.concat())
}

/// A command's arguments that have not been read yet.
#[derive(Debug)]
pub struct Arguments<'a> {
    left: &'a mut [String],
    usage: &'static str,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(arguments: &'a mut [String], usage: &'static str) -> Self {
        Self { left: arguments, usage }
    }

    /// Fails if there are more than `most`.
    pub fn at_most(&self, most: usize) -> Result<(), Failure> {
        if self.left.len() > most { Err(self.wrong(&["there are too many arguments"])) } else { Ok(()) }
    }

    /// Returns the next argument, `name`, which is required.
    pub fn required<T: FromArgument<'a>>(&mut self, name: &str) -> Result<T, Failure> {
        match self.next() {
            Some(text) => self.read(name, text),
            None => Err(self.wrong(&[name, " is missing"])),
        }
    }

    /// Returns the next argument, `name`, if there is one.
    pub fn optional<T: FromArgument<'a>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        match self.next() {
            Some(text) => self.read(name, text).map(Some),
            None => Ok(None),
        }
    }

    /// Returns all remaining arguments, each called `name`.
    pub fn rest<T: FromArgument<'a>>(&mut self, name: &str) -> Result<Vec<T>, Failure> {
        let mut values = Vec::with_capacity(self.left.len());
        while let Some(text) = self.next() {
            values.push(self.read(name, text)?);
        }
        Ok(values)
    }

    /// Returns all remaining arguments as they are.
    pub fn texts(&mut self) -> &'a [String] {
        let left: &'a mut [String] = std::mem::take(&mut self.left);
        left
    }

    fn next(&mut self) -> Option<&'a mut String> {
        let (next, left) = std::mem::take(&mut self.left).split_first_mut()?;
        self.left = left;
        Some(next)
    }

    fn read<T: FromArgument<'a>>(&self, name: &str, text: &'a mut String) -> Result<T, Failure> {
        T::from_argument(text).ok_or_else(|| self.wrong(&[name, " must be ", T::EXPECTED]))
    }

    #[cold]
    fn wrong(&self, what: &[&str]) -> Failure {
        let words = ["usage: ", self.usage, " (", &what.concat(), ")"];
        Failure::bad_arguments(words.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_arguments_of_its_requests() {
        let mut bytes = Vec::new();
        let mut push = |number: u32, text: &str| {
            bytes.extend(number.to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        for arguments in [&["echo", "é x", ""][..], &["a", "b"], &["c"]] {
            push(arguments.len() as u32, "");
            arguments.iter().for_each(|argument| push(argument.len() as u32, argument));
        }
        let mut block = Block::new(bytes);
        let mut arguments = Vec::new();
        assert_eq!(block.next(&mut arguments), Some("echo"));
        assert_eq!(arguments, ["é x", ""]);
        // The next request does not depend on text that a command took out.
        arguments[0] = String::new();
        assert_eq!(block.next(&mut arguments), Some("a"));
        assert_eq!(arguments, ["b"]);
        assert!(!block.is_done());
        assert_eq!(block.next(&mut arguments), Some("c"));
        assert_eq!(arguments, Vec::<String>::new());
        assert!(block.is_done());
        assert_eq!(block.next(&mut arguments), None);
        assert_eq!(arguments, Vec::<String>::new());
    }

    #[test]
    fn a_torn_block_has_what_is_in_it() {
        // Two arguments; the second claims to be longer than the remaining bytes.
        let bytes = [2, 0, 0, 0, 1, 0, 0, 0, b'a', 9, 0, 0, 0, b'b'];
        for end in 0..bytes.len() {
            let (mut block, mut arguments) = (Block::new(bytes[..end].to_vec()), Vec::new());
            let name = block.next(&mut arguments).map(str::to_owned);
            assert!(name.is_none_or(|name| name.is_empty() || name == "a"), "{end}");
            assert!(arguments.iter().all(String::is_empty), "{end}");
            assert!(block.is_done(), "{end}");
        }
    }
}
