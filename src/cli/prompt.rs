//! Commands one after the other: typed at a prompt, or read from standard input.

use std::io::BufRead;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Context, Editor, Helper, Highlighter, Hinter, Validator};

use super::request::RequestOptions;
use super::session::{Interrupt, Session};
use super::target::Target;
use super::{Exit, Failure, output};
use crate::client::{Request, create_folder, folder};

const PROMPT: &str = "lictor> ";

const HELP: &str = "\
Type a command and its arguments, separated by single spaces:
  echo hello
Quote an argument that contains spaces; \\\" \\\\ \\r \\n \\t \\xHH are escapes:
  echo \"hello world\"
Tab completes command names; @commands lists the commands you may run.
Ctrl-C cancels the running command. The prompt itself handles help, exit and quit; to run a
server's command of that name, quote it: \"help\". Ctrl-D also exits.";

/// Maximum lines of history.
const MAX_HISTORY: usize = 1000;

/// Maximum length of a line from standard input: longer than any head that a server accepts.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Runs the lines typed, until the user leaves. A failure is shown and does not end the session.
pub(super) fn converse(target: Target, options: &RequestOptions) -> Result<(), Failure> {
    let address = target.address.to_string();
    let mut session = Session::open(target, Interrupt::Cancels, options.timeout())?;
    let mut editor = editor().map_err(cannot_prompt)?;
    editor.set_helper(Some(CommandNames { names: command_names(&mut session) }));
    let history = history_file();
    if let Some(file) = &history {
        // Missing on the first run.
        let _ = editor.load_history(file);
    }
    output::diagnostics(&format!("Connected to {address}. Type help for help, Ctrl-D to leave."));
    let done = read_and_run(&mut editor, &mut session, options);
    if let Some(file) = &history
        && let Err(error) = editor.append_history(file)
    {
        output::note(&format!("cannot keep the history in {}: {error}", file.display()));
    }
    session.close();
    done
}

fn read_and_run(
    editor: &mut Editor<CommandNames, FileHistory>,
    session: &mut Session,
    options: &RequestOptions,
) -> Result<(), Failure> {
    let mut was_interrupted = false;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) if !was_interrupted => {
                was_interrupted = true;
                output::diagnostics("(press Ctrl-C again or Ctrl-D, or type exit, to leave)");
                continue;
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(cannot_prompt(error)),
        };
        was_interrupted = false;
        match Typed::of(&line) {
            Typed::Nothing => continue,
            Typed::Exit => return Ok(()),
            Typed::Help => output::diagnostics(HELP),
            Typed::Command(command) => match run_line(session, options, command) {
                Err(failure) if failure.exit() == Exit::Done => return Err(failure),
                Err(failure) => drop(output::failure(&failure)),
                Ok(()) => {}
            },
        }
        // A lost line of history is not worth a message.
        let _ = editor.add_history_entry(&line);
    }
}

/// Runs every line of `input`, in order. Stops only if the connection fails.
pub(super) fn run_lines(
    target: Target,
    options: &RequestOptions,
    mut input: impl BufRead,
) -> Result<(), Failure> {
    let mut session = Session::open(target, Interrupt::Ends, options.timeout())?;
    let mut any_failed = false;
    // Windows editors put a byte order mark before a text.
    if input.fill_buf().is_ok_and(|begin| begin.starts_with("\u{feff}".as_bytes())) {
        input.consume('\u{feff}'.len_utf8());
    }
    while let Some(line) = next_line(&mut input)? {
        if line.trim().is_empty() {
            continue;
        }
        match run_line(&mut session, options, &line) {
            Err(failure) if matches!(failure.exit(), Exit::Done | Exit::Unreachable) => return Err(failure),
            Err(failure) => {
                output::failure(&failure);
                any_failed = true;
            }
            Ok(()) => {}
        }
    }
    session.close();
    if any_failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

/// Reads the next line, without its end.
fn next_line(input: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut line = String::new();
    let read = std::io::Read::take(&mut *input, MAX_LINE_BYTES).read_line(&mut line);
    match read
        .map_err(|error| Failure::usage(format!("cannot read a command from standard input: {error}")))?
    {
        0 => Ok(None),
        length if length as u64 == MAX_LINE_BYTES && !line.ends_with('\n') => {
            Err(Failure::usage(format!("a line of standard input has more than {MAX_LINE_BYTES} bytes")))
        }
        _ => Ok(Some(line.trim_end_matches('\n').trim_end_matches('\r').to_owned())),
    }
}

/// Runs one line unchanged.
fn run_line(session: &mut Session, options: &RequestOptions, line: &str) -> Result<(), Failure> {
    let request = Request::from_line(line).and_then(|request| options.applied(request));
    let request = request.map_err(|error| Failure::usage(error.to_string()))?;
    session.run(request, options.timeout(), options.reply())
}

#[derive(Debug, PartialEq, Eq)]
enum Typed<'l> {
    Nothing,
    Help,
    Exit,
    Command(&'l str),
}

impl<'l> Typed<'l> {
    fn of(line: &'l str) -> Self {
        match line.trim() {
            "" => Self::Nothing,
            "help" => Self::Help,
            "exit" | "quit" => Self::Exit,
            // Leading spaces only keep a line out of the history; trailing spaces belong to an argument.
            _ => Self::Command(line.trim_start()),
        }
    }
}

/// The commands that this client may run, for completion. Empty if the client may not ask.
fn command_names(session: &mut Session) -> Vec<String> {
    let reply = Request::from_arguments(&["@commands"]).ok().and_then(|request| session.ask(request).ok());
    names_in(&String::from_utf8_lossy(&reply.unwrap_or_default()))
}

/// The first word of each line.
fn names_in(reply: &str) -> Vec<String> {
    let words = reply.lines().filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<_> =
        words.filter(|word| word.bytes().all(|byte| byte.is_ascii_graphic())).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[derive(Debug, Helper, Hinter, Highlighter, Validator)]
struct CommandNames {
    names: Vec<String>,
}

impl CommandNames {
    /// Names that begin with the text before the cursor, if that is a line's first word.
    fn beginning_with(&self, before: &str) -> Vec<String> {
        if before.contains(' ') {
            return Vec::new();
        }
        let own = ["exit", "help", "quit"].map(str::to_owned);
        self.names.iter().chain(&own).filter(|name| name.starts_with(before)).cloned().collect()
    }
}

impl Completer for CommandNames {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or_default();
        let start = before.len() - before.trim_start().len();
        Ok((start, self.beginning_with(before.trim_start())))
    }
}

fn editor() -> rustyline::Result<Editor<CommandNames, FileHistory>> {
    let config = rustyline::Config::builder()
        .history_ignore_space(true)
        .history_ignore_dups(true)?
        .max_history_size(MAX_HISTORY)?
        .completion_type(CompletionType::List)
        .build();
    Editor::with_config(config)
}

/// The history file. rustyline makes it accessible to its owner only.
fn history_file() -> Option<PathBuf> {
    let folder = folder()?;
    create_folder(&folder).ok()?;
    Some(folder.join("history"))
}

fn cannot_prompt(error: ReadlineError) -> Failure {
    Failure::failed(format!("cannot prompt: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_is_a_word_of_the_prompt_or_a_command() {
        for (line, typed) in [
            ("", Typed::Nothing),
            ("  ", Typed::Nothing),
            (" help ", Typed::Help),
            ("exit", Typed::Exit),
            ("quit", Typed::Exit),
            ("\"help\"", Typed::Command("\"help\"")),
            ("help me", Typed::Command("help me")),
            (" echo \"a  b\" ", Typed::Command("echo \"a  b\" ")),
        ] {
            assert_eq!(Typed::of(line), typed, "{line:?}");
        }
    }

    #[test]
    fn only_the_first_word_is_completed() {
        let reply = "kv-get KEY — reads a value\n@ping\nkv-set KEY VALUE\n\n@ping\n\u{1b}[31m x\n";
        let names = CommandNames { names: names_in(reply) };
        assert_eq!(names.names, ["@ping", "kv-get", "kv-set"]);
        assert_eq!(names.beginning_with("kv-"), ["kv-get", "kv-set"]);
        assert_eq!(names.beginning_with("e"), ["exit"]);
        assert_eq!(names.beginning_with("").len(), 6);
        assert!(names.beginning_with("kv-get k").is_empty());
        let history = FileHistory::new();
        let context = Context::new(&history);
        assert_eq!(names.complete("  @p x", 4, &context).unwrap(), (2, vec!["@ping".to_owned()]));
    }

    #[test]
    fn lines_are_read_without_their_ends() {
        let mut input = &b"one\r\n\n two \nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "", " two ", "last"]);
        assert_eq!(next_line(&mut &b"\xff\n"[..]).unwrap_err().exit(), Exit::Usage);
        let long = vec![b'x'; MAX_LINE_BYTES as usize + 1];
        assert_eq!(next_line(&mut &long[..]).unwrap_err().exit(), Exit::Usage);
    }
}
