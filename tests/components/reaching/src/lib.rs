//! A plugin that reads files and runs other commands, one command for each function.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:reaching;
        world reaching {
            include lictor:plugin/plugin@0.1.0;
            import lictor:plugin/files@0.1.0;
            import lictor:plugin/call@0.1.0;
        }
    ",
    generate_all,
});

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use lictor::plugin::{call, files, output, request};

struct Reaching;

export!(Reaching);

impl Guest for Reaching {
    fn describe() -> Vec<CommandInfo> {
        // There is no request yet, so no command may run.
        if call::command(&["echo".to_owned()], &[]).is_ok() {
            panic!("a command was run with no request");
        }
        Vec::new()
    }

    /// `read PATH`; `run COMMAND [ARGUMENT]...` with the request's body; `loop COMMAND [ARGUMENT]...` until
    /// it fails; `print TEXT`. Their failures are returned as replies, so that a test sees codes with which a
    /// plugin itself can't fail.
    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        match args[0].as_str() {
            "read" => files::read(&args[1]),
            "run" => Ok(match call::command(&args[1..], &request::body()) {
                Ok(reply) => reply,
                Err(failure) => format!("{}: {}", failure.code, failure.message).into_bytes(),
            }),
            "loop" => loop {
                if let Err(failure) = call::command(&args[1..], &[]) {
                    return Ok(format!("{}: {}", failure.code, failure.message).into_bytes());
                }
            },
            "print" => {
                output::print(&args[1]);
                Ok(Vec::new())
            }
            "print-flood" => {
                (0..1000).for_each(|_| output::print(&"x".repeat(1024)));
                Ok(Vec::new())
            }
            other => Err(Failure { code: "bad-arguments".into(), message: other.into() }),
        }
    }
}
