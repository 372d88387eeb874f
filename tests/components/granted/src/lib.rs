//! A plugin that uses everything a plugin may be granted, one command for each function.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:granted;
        world granted {
            include lictor:plugin/plugin@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
        }
    ",
    generate_all,
});

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use wasi::config::store;
use wasi::logging::logging::{self, Level};

struct Granted;

export!(Granted);

impl Guest for Granted {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        let arguments: Vec<&str> = args.iter().map(String::as_str).collect();
        match arguments[..] {
            ["config", key] => match store::get(key) {
                Ok(Some(value)) => Ok(value.into_bytes()),
                Ok(None) => Err(failure("not-found", key)),
                Err(error) => Err(failure("unavailable", &format!("{error:?}"))),
            },
            ["config-all"] => {
                let mut entries =
                    store::get_all().map_err(|error| failure("unavailable", &format!("{error:?}")))?;
                entries.sort();
                let lines: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
                Ok(lines.join("\n").into_bytes())
            }
            ["log", level, context, message] => {
                let level = LEVELS.iter().find(|(name, _)| *name == level).map(|(_, level)| *level);
                logging::log(
                    level.ok_or_else(|| failure("bad-arguments", "no such level"))?,
                    context,
                    message,
                );
                Ok(Vec::new())
            }
            ["log-flood", count] => {
                let count: u32 = count.parse().map_err(|_| failure("bad-arguments", "no number"))?;
                (0..count).for_each(|number| logging::log(Level::Info, "flood", &number.to_string()));
                Ok(Vec::new())
            }
            _ => Err(failure("bad-arguments", "")),
        }
    }
}

const LEVELS: [(&str, Level); 6] = [
    ("trace", Level::Trace),
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("warn", Level::Warn),
    ("error", Level::Error),
    ("critical", Level::Critical),
];

fn failure(code: &str, message: &str) -> Failure {
    Failure { code: code.into(), message: message.into() }
}
