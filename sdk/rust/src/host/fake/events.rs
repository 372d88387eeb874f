//! The topics of a test.

use std::time::Duration;

use super::bounds::{operation, renew};
use super::{failure, types, world};
pub(crate) use crate::bindings::lictor::plugin::events::Event;

const MAX_BYTES: usize = 64 << 10;
const MAX_TOPIC_BYTES: usize = 128;
const MAX_SUBSCRIPTIONS: usize = 32;

fn is_topic(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    (1..=MAX_TOPIC_BYTES).contains(&text.len()) && text.bytes().all(is_fit)
}

fn is_pattern(text: &str) -> bool {
    is_topic(text.strip_suffix('*').filter(|start| !start.is_empty()).unwrap_or(text)) || text == "*"
}

pub(crate) fn publish(topic: &str, data: &[u8]) -> Result<u32, types::Failure> {
    operation(topic.len() + data.len());
    if !is_topic(topic) {
        return Err(failure("bad-arguments", "a topic is 1 to 128 letters, digits and . _ - / :"));
    }
    if data.len() > MAX_BYTES {
        return Err(failure("bad-arguments", "an event has at most 65536 bytes"));
    }
    world(|world| world.published.push(Event { topic: topic.into(), data: data.into(), lost: 0 }));
    Ok(1)
}

pub(crate) fn subscribe(topics: &str) -> Result<(), types::Failure> {
    operation(topics.len());
    if !is_pattern(topics) {
        return Err(failure("bad-arguments", "this is no topic, and no start of topics with a * behind it"));
    }
    if world(|world| world.subscribed.len()) == MAX_SUBSCRIPTIONS {
        return Err(failure("failed", "a command subscribes 32 times at most"));
    }
    world(|world| world.subscribed.push(topics.into()));
    Ok(())
}

/// Returns the next event that the test queued; no test waits for another.
pub(crate) fn next(timeout_ms: Option<u64>) -> Result<Option<Event>, types::Failure> {
    if world(|world| world.subscribed.is_empty()) {
        return Err(failure("failed", "there is nothing that it has subscribed to"));
    }
    let next = world(|world| {
        let fits = |event: &Event| {
            let mut topics = world.subscribed.iter();
            topics.any(|topics| match topics.strip_suffix('*') {
                Some(prefix) => event.topic.starts_with(prefix),
                None => event.topic == *topics,
            })
        };
        let at = world.coming.iter().position(fits)?;
        world.coming.remove(at)
    });
    match (next, timeout_ms) {
        (None, None) => Err(failure("unavailable", "the test has no further event")),
        (None, Some(millis)) => {
            // The wait takes none of the command's time.
            world(|world| world.elapsed = world.elapsed.saturating_add(Duration::from_millis(millis)));
            Ok(None)
        }
        (next, _) => {
            renew();
            Ok(next)
        }
    }
}
