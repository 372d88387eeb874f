//! A plugin that runs other commands and streams their replies.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:relaying;
        world relaying {
            include lictor:plugin/streaming-plugin@0.1.0;
            import lictor:plugin/call@0.1.0;
        }
    ",
    generate_all,
});

use wit_bindgen::rt::async_support::{StreamReader, spawn_local};

use exports::lictor::plugin::streaming_commands::{CommandInfo, Failure, Guest};
use lictor::plugin::{call, request};

struct Relaying;

export!(Relaying);

impl Guest for Relaying {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    /// `run-streamed COMMAND [ARGUMENT]...` with the request's body. A failure of the command is the stream's
    /// content. `loop-streamed` runs it repeatedly until it fails.
    async fn handle(args: Vec<String>) -> Result<StreamReader<u8>, Failure> {
        let is_loop = args[0] == "loop-streamed";
        let mut result = call::command(&args[1..], &request::body());
        while is_loop && result.is_ok() {
            result = call::command(&args[1..], &[]);
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(failure) => format!("{}: {}", failure.code, failure.message).into_bytes(),
        };
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move { drop(writer.write_all(reply).await) });
        Ok(reader)
    }
}
