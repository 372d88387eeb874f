//! A plugin whose streams are driven by their own events, and send nothing.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:feeding;
        world feeding {
            include lictor:plugin/streaming-plugin@0.1.0;
            import lictor:plugin/call@0.1.0;
            import lictor:plugin/events@0.1.0;
        }
    ",
    generate_all,
});

use std::hint::black_box;

use wit_bindgen::rt::async_support::StreamReader;

use exports::lictor::plugin::streaming_commands::{CommandInfo, Failure, Guest};
use lictor::plugin::{call, events};

struct Feeding;

export!(Feeding);

impl Guest for Feeding {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    /// `feed` endlessly publishes to the topic that it has subscribed to, and takes the event. `feed COMMAND`
    /// publishes through that command, which the plugin may run.
    async fn handle(args: Vec<String>) -> Result<StreamReader<u8>, Failure> {
        events::subscribe("feed")?;
        loop {
            (0..1_000_000).for_each(|number| drop(black_box(number)));
            match args.get(1) {
                Some(command) => drop(call::command(&[command.clone(), "feed".to_owned()], &[])?),
                None => drop(events::publish("feed", &[])?),
            }
            events::next(None)?;
        }
    }
}
