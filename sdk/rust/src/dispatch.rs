//! From the host's call to an author's function: finds the command, hands out its arguments, says what is wrong with
//! them.
//!
//! The macro `plugin` makes a [`Command`] of each function, and a call of [`Arguments`] of each of its parameters; all
//! else is here, once, and not in each plugin's own code. Nothing here allocates unless the call fails.

use crate::argument::FromArgument;
use crate::bindings::exports::lictor::plugin::commands::{CommandInfo, Failure as WireFailure, Guest};
use crate::bindings::exports::lictor::plugin::worker::Guest as Worker;
use crate::bindings::lictor::plugin::queue;
use crate::failure::Failure;

/// One command, as the macro `plugin` describes it.
#[derive(Debug)]
pub struct Command {
    /// The first argument that runs it.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its arguments: `greet NAME [TIMES]`.
    pub usage: &'static str,
    /// Whether running it twice has the same effect as running it once.
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
        run(P::COMMANDS, &mut arguments).map_err(Into::into)
    }
}

impl<P: Plugin> Worker for P {
    fn run() {
        before_any_author_code();
        let mut block = Block::new(queue::first());
        loop {
            let answer = run(P::COMMANDS, &mut block.next()).map_err(WireFailure::from);
            let next = if block.is_done() {
                queue::next(answer.as_deref())
            } else if queue::answer(answer.as_deref()) {
                None
            } else {
                Some(queue::first())
            };
            if let Some(next) = next {
                block = Block::new(next);
            }
        }
    }
}

/// Requests as `queue` hands them over. The host's blocks are whole, so nothing is made of one that is not.
struct Block {
    bytes: Vec<u8>,
    at: usize,
}

impl Block {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next request's arguments.
    fn next(&mut self) -> Vec<String> {
        let count = self.number();
        let mut arguments = Vec::with_capacity(count);
        arguments.extend((0..count).map(|_| {
            let length = self.number();
            let text = self.take(length).to_vec();
            // SAFETY: the host gives UTF-8, here as in any string of the component model, which are taken as they are.
            unsafe { String::from_utf8_unchecked(text) }
        }));
        arguments
    }

    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn number(&mut self) -> usize {
        self.take(4).first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let from = self.at;
        self.at += length;
        self.bytes.get(from..self.at).unwrap_or_default()
    }
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

/// Runs the command that the first of `arguments` names.
pub(crate) fn run(commands: &'static [Command], arguments: &mut [String]) -> Result<Vec<u8>, Failure> {
    let (command, arguments) = find(commands, arguments, |command| (command.name, command.usage))?;
    (command.run)(arguments)
}

/// The command that the first of `arguments` names, and the others for it. `words` gives a command's name and usage.
///
/// An only command answers to any name, since the operator may have routed it under another than its own.
pub(crate) fn find<'a, C>(
    commands: &'static [C],
    arguments: &'a mut [String],
    words: fn(&C) -> (&'static str, &'static str),
) -> Result<(&'static C, Arguments<'a>), Failure> {
    let Some((name, rest)) = arguments.split_first_mut() else {
        return Err(Failure::bad_arguments("there is no command"));
    };
    let command = match commands {
        [only] => only,
        _ => match commands.iter().find(|command| words(command).0 == *name) {
            Some(command) => command,
            None => return Err(unknown(name, commands.iter().map(|command| words(command).0).collect())),
        },
    };
    Ok((command, Arguments { left: rest, usage: words(command).1 }))
}

#[cold]
fn unknown(name: &str, commands: Vec<&str>) -> Failure {
    let words = ["this plugin has no command ", name, ", only ", &commands.join(", ")];
    Failure::bad_arguments(words.concat())
}

/// The arguments of a command that have not been read yet.
#[derive(Debug)]
pub struct Arguments<'a> {
    left: &'a mut [String],
    usage: &'static str,
}

impl<'a> Arguments<'a> {
    /// Fails where there are more than `most`.
    pub fn at_most(&self, most: usize) -> Result<(), Failure> {
        if self.left.len() > most { Err(self.wrong(&["there are too many arguments"])) } else { Ok(()) }
    }

    /// The next one, called `name`, which must be there.
    pub fn required<T: FromArgument<'a>>(&mut self, name: &str) -> Result<T, Failure> {
        match self.next() {
            Some(text) => self.read(name, text),
            None => Err(self.wrong(&[name, " is missing"])),
        }
    }

    /// The next one, called `name`, if there is one.
    pub fn optional<T: FromArgument<'a>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        match self.next() {
            Some(text) => self.read(name, text).map(Some),
            None => Ok(None),
        }
    }

    /// All others, each called `name`.
    pub fn rest<T: FromArgument<'a>>(&mut self, name: &str) -> Result<Vec<T>, Failure> {
        let mut values = Vec::with_capacity(self.left.len());
        while let Some(text) = self.next() {
            values.push(self.read(name, text)?);
        }
        Ok(values)
    }

    /// All others as they are.
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
        for arguments in [&["echo", "é x", ""][..], &["a"]] {
            push(arguments.len() as u32, "");
            arguments.iter().for_each(|argument| push(argument.len() as u32, argument));
        }
        let mut block = Block::new(bytes);
        assert_eq!(block.next(), ["echo", "é x", ""]);
        assert_eq!(block.next(), ["a"]);
        assert_eq!(block.next(), Vec::<String>::new());
    }
}
