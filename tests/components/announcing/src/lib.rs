//! A plugin that publishes events and has no streams.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package lictor:announcing;
        world announcing {
            include lictor:plugin/plugin@0.1.0;
            import lictor:plugin/events@0.1.0;
        }
    ",
    generate_all,
});

use exports::lictor::plugin::commands::{CommandInfo, Failure, Guest};
use lictor::plugin::{events, request};

struct Announcing;

export!(Announcing);

impl Guest for Announcing {
    fn describe() -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(args: Vec<String>) -> Result<Vec<u8>, Failure> {
        match (args[0].as_str(), args.get(1).map_or("", String::as_str)) {
            ("announce", topic) => {
                events::publish(topic, &request::body()).map(|reached| reached.to_string().into())
            }
            ("listen", topics) => events::subscribe(topics).map(|()| Vec::new()),
            _ => events::next(Some(0)).map(|_| Vec::new()),
        }
    }
}
