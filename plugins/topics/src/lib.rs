//! Topics for clients: `publish` reaches the clients that `subscribe`. Needs `events = ["TOPICS*"]`.

use lictor_plugin::events::Event;
use lictor_plugin::prelude::*;

#[plugin]
mod commands {
    /// publishes to a topic, and replies with the number of subscribers
    #[command]
    fn publish(topic: &str, text: &[String]) -> Result<u32, Failure> {
        // The client chooses the topic.
        events::publish(topic, text.join(" ")).map_err(Failure::as_is)
    }

    /// streams the events of a topic, or of all topics with a prefix, until cancelled
    #[command(idempotent, usage = "subscribe TOPIC|START*")]
    async fn subscribe(reply: &mut Writer, topics: &str) -> Result<(), Failure> {
        events::subscribe(topics).map_err(Failure::as_is)?;
        loop {
            reply.write(line(&events::next()?)).await?;
        }
    }
}

/// Formats an event as a line, after a line that reports the events lost before it.
fn line(event: &Event) -> String {
    let text = String::from_utf8_lossy(&event.data);
    let line = format!("{} {text}\n", event.topic);
    match event.lost {
        0 => line,
        lost => format!("({lost} lost)\n{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_before_what_was_not() {
        let event = |lost| Event { topic: "a/b".into(), data: b"c d".to_vec(), lost };
        assert_eq!(line(&event(0)), "a/b c d\n");
        assert_eq!(line(&event(2)), "(2 lost)\na/b c d\n");
    }
}
