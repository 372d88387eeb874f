//! The macros with a compiler: a plugin with every kind of parameter and reply, called as the host does.

#![allow(clippy::unwrap_used)]

use lictor_plugin::prelude::*;
use lictor_plugin::testing;

/// An argument of a plugin's own type.
#[derive(Debug, PartialEq)]
enum Color {
    Red,
    Blue,
}

impl FromArgument<'_> for Color {
    const EXPECTED: &'static str = "red or blue";

    fn from_argument(text: &mut String) -> Option<Self> {
        match text.as_str() {
            "red" => Some(Self::Red),
            "blue" => Some(Self::Blue),
            _ => None,
        }
    }
}

/// In a plugin this is read from the config; here it shows that the macro accepts it.
#[derive(Config)]
#[allow(dead_code)]
struct Settings {
    greeting: String,
    #[config(default = 3)]
    retries: u32,
    #[config(default = "http://localhost", name = "base-url")]
    url: String,
    #[config(default)]
    verbose: bool,
    #[config(default = Duration::from_secs(5))]
    patience: Duration,
    proxy: Option<String>,
}

#[plugin]
mod sample {
    // Unused, which is not an error.
    use super::*;

    /// greets somebody
    ///
    /// In some detail.
    #[command(idempotent)]
    fn greet(name: String, times: Option<u32>) -> Result<String, Failure> {
        match times.unwrap_or(1) {
            0 => Err(Failure::denied("not at all")),
            times => Ok(vec![name; times as usize].join(" ")),
        }
    }

    /// adds numbers
    #[command]
    fn add_all(numbers: Vec<i64>) -> i64 {
        numbers.iter().sum()
    }

    /// joins texts
    #[command(name = "join")]
    fn joined(separator: &str, texts: &[String]) -> String {
        texts.join(separator)
    }

    /// joins texts as well
    #[command]
    fn concat(texts: &[&str]) -> String {
        texts.concat()
    }

    /// tells a color
    #[command]
    fn paint(color: Color, mut value: u8, run: bool) -> Option<u8> {
        value += u8::from(color == Color::Blue);
        run.then_some(value)
    }

    /// says nothing
    #[command]
    fn nothing() {}

    /// fails by an error of the standard library
    #[command]
    fn parse(text: &str) -> Result<u8, core::num::ParseIntError> {
        text.parse()
    }

    /// greets as it is configured
    #[command]
    fn configured(#[config] settings: &Settings, name: &str) -> String {
        format!("{} {name}", settings.greeting)
    }

    /// greets as it is configured, once more
    #[command(usage = "configured-too WHOM")]
    fn configured_too(name: &str, #[config] settings: Settings) -> String {
        format!("{} {name}", settings.greeting)
    }

    /// is there where the condition holds
    #[cfg(any())]
    #[command]
    fn absent() {}
}

fn run(arguments: &[&str]) -> Result<String, (String, String)> {
    let reply = testing::run(sample::COMMANDS, arguments);
    reply
        .map(|reply| String::from_utf8(reply).unwrap())
        .map_err(|failure| (failure.code().to_owned(), failure.message().to_owned()))
}

#[test]
fn commands_are_described() {
    let described: Vec<_> =
        sample::COMMANDS.iter().map(|command| (command.name, command.usage, command.idempotent)).collect();
    let expected = [
        ("greet", "greet NAME [TIMES]", true),
        ("add-all", "add-all [NUMBERS]...", false),
        ("join", "join SEPARATOR [TEXTS]...", false),
        ("concat", "concat [TEXTS]...", false),
        ("paint", "paint COLOR VALUE RUN", false),
        ("nothing", "nothing", false),
        ("parse", "parse TEXT", false),
        ("configured", "configured NAME", false),
        ("configured-too", "configured-too WHOM", false),
    ];
    assert_eq!(described, expected);
    assert_eq!(sample::COMMANDS[0].summary, "greets somebody");
}

#[test]
fn arguments_are_read_by_their_types() {
    assert_eq!(run(&["greet", "you"]).unwrap(), "you");
    assert_eq!(run(&["greet", "you", "2"]).unwrap(), "you you");
    assert_eq!(run(&["add-all"]).unwrap(), "0");
    assert_eq!(run(&["add-all", "1", "-3"]).unwrap(), "-2");
    assert_eq!(run(&["join", ","]).unwrap(), "");
    assert_eq!(run(&["join", ",", "a", "b"]).unwrap(), "a,b");
    assert_eq!(run(&["concat", "a", "b"]).unwrap(), "ab");
    assert_eq!(run(&["paint", "blue", "1", "yes"]).unwrap(), "2");
    assert_eq!(run(&["nothing"]).unwrap(), "");
}

#[test]
fn what_is_wrong_is_said() {
    let wrong = |arguments: &[&str]| {
        let (code, message) = run(arguments).unwrap_err();
        assert_eq!(code, "bad-arguments");
        message
    };
    assert_eq!(wrong(&["greet"]), "usage: greet NAME [TIMES] (NAME is missing)");
    assert_eq!(wrong(&["greet", "a", "1", "2"]), "usage: greet NAME [TIMES] (there are too many arguments)");
    let times = "usage: greet NAME [TIMES] (TIMES must be a whole number from 0 to 4294967295)";
    assert_eq!(wrong(&["greet", "a", "-1"]), times);
    assert_eq!(
        wrong(&["paint", "green", "1", "on"]),
        "usage: paint COLOR VALUE RUN (COLOR must be red or blue)"
    );
    assert!(wrong(&["add-all", "1", "x"]).contains("NUMBERS must be a whole number"));
    assert_eq!(wrong(&["nothing", "x"]), "usage: nothing (there are too many arguments)");
    assert!(wrong(&["hello"]).starts_with("this plugin has no command hello, only greet, add-all, join"));
    assert_eq!(wrong(&["parse", "x"]), "invalid digit found in string");
    assert_eq!(wrong(&[]), "there is no command");
    // Reported before the config is read, of which there is none here.
    assert_eq!(wrong(&["configured"]), "usage: configured NAME (NAME is missing)");
    assert_eq!(wrong(&["configured-too"]), "usage: configured-too WHOM (NAME is missing)");
}

#[test]
fn failures_have_their_codes() {
    assert_eq!(run(&["greet", "a", "0"]), Err(("denied".into(), "not at all".into())));
    assert_eq!(run(&["paint", "red", "1", "no"]).unwrap_err().0, "not-found");
}

/// The operator may route a command under any name.
#[test]
fn an_only_command_answers_to_any_name() {
    #[plugin]
    mod one {
        /// answers
        #[command]
        fn pong() -> &'static str {
            "pong"
        }
    }

    assert_eq!(testing::run(one::COMMANDS, &["ping"]).unwrap(), b"pong");
}
