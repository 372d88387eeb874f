//! A plugin that misbehaves, one command for each misdeed. Built on `std`, so that it imports everything that
//! a Rust program brings along from WASI.

mod inquire;
mod misbehave;
mod reply;
mod work;

wit_bindgen::generate!({ path: "../../../wit", world: "worker-plugin" });

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};

struct Hostile;

export!(Hostile);

type Answer = Result<Vec<u8>, Failure>;

/// A command: its name, its arguments as `@commands` shows them, and its function.
type Command = (&'static str, &'static str, fn(&[String]) -> Answer);

const COMMANDS: &[Command] = &[
    ("spin", "", misbehave::spin),
    ("grow", "", misbehave::grow),
    ("creep", "", misbehave::creep),
    ("recurse", "", misbehave::recurse),
    ("deep", "", misbehave::deep),
    ("trap", "", misbehave::trap),
    ("panic", "TEXT", misbehave::panic),
    ("exit", "CODE", misbehave::exit),
    ("sleep", "MS", misbehave::sleep),
    ("flood", "[BYTES]", misbehave::flood),
    ("flood-err", "[BYTES]", misbehave::flood_err),
    ("flood-line", "BYTES", misbehave::flood_line),
    ("forge-log", "", misbehave::forge_log),
    ("big", "BYTES", reply::big),
    ("blank-line", "", reply::blank_line),
    ("ends-crlf", "", reply::ends_crlf),
    ("not-utf8", "", reply::not_utf8),
    ("fail", "CODE MESSAGE", reply::fail),
    ("fail-big", "", reply::fail_big),
    ("alloc", "BYTES", inquire::alloc),
    ("leak", "", inquire::leak),
    ("whoami", "", inquire::whoami),
    ("header", "NAME", inquire::header),
    ("headers", "", inquire::headers),
    ("body", "", inquire::body),
    ("body-size", "", inquire::body_size),
    ("time-left", "", inquire::time_left),
    ("id", "", inquire::id),
    ("args", "[TEXT]...", inquire::args),
    ("env", "", inquire::env),
    ("files", "", inquire::files),
    ("random", "", inquire::random),
    ("queue-more", "", work::more),
    ("queue-next", "", work::next),
    ("queue-reply", "", work::reply),
    ("queue-leave", "", work::leave),
    ("queue-exit", "return|trap|late", work::exit),
    ("hoard", "COUNT", misbehave::hoard),
];

impl Guest for Hostile {
    fn describe() -> Vec<CommandInfo> {
        COMMANDS
            .iter()
            .map(|(name, arguments, _)| CommandInfo {
                name: (*name).into(),
                summary: "misbehaves".into(),
                usage: format!("{name} {arguments}").trim_end().into(),
                idempotent: false,
            })
            .collect()
    }

    fn handle(args: Vec<String>) -> Answer {
        let Some((name, rest)) = args.split_first() else {
            return Err(failure("bad-arguments", "no command"));
        };
        match COMMANDS.iter().find(|(known, ..)| known == name) {
            Some((_, _, run)) => run(rest),
            None => Err(failure("not-found", "hostile has no such command")),
        }
    }
}

impl exports::lictor::plugin::worker::Guest for Hostile {
    fn run() {
        work::run(|args| Self::handle(args));
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.into(), message: message.into() }
}

/// Parses the first argument as a number.
fn number(args: &[String]) -> Result<u64, Failure> {
    args.first()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| failure("bad-arguments", "a number is missing"))
}
