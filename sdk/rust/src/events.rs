//! Topics: an event that one plugin publishes goes to every current subscriber at once. Imported where
//! `events = ["TOPIC"]` is granted.
//!
//! Nothing is kept for later subscribers. A slow subscriber loses the oldest events and learns how many.

use std::time::Duration;

use crate::Failure;
pub use crate::bindings::lictor::plugin::events::Event;
use crate::host::events;

/// Publishes to a topic, at most 64 KiB; returns the number of commands that receive the event.
pub fn publish(topic: &str, data: impl AsRef<[u8]>) -> Result<u32, Failure> {
    events::publish(topic, data.as_ref()).map_err(Failure::from)
}

/// Subscribes to a topic until the command ends, or, with a trailing `*`, to all topics with that prefix. For
/// commands that stream.
pub fn subscribe(topics: &str) -> Result<(), Failure> {
    events::subscribe(topics).map_err(Failure::from)
}

/// Waits for the next event. The wait takes none of the plugin's time.
pub fn next() -> Result<Event, Failure> {
    events::next(None)?.ok_or_else(|| Failure::unavailable("there is no event"))
}

/// Waits for the next event, at most for `span`.
pub fn next_within(span: Duration) -> Result<Option<Event>, Failure> {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    events::next(Some(millis)).map_err(Failure::from)
}
