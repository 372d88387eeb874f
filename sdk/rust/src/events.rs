//! Topics: what one plugin publishes goes to all that have subscribed by then, as it comes. Imported where
//! `events = ["TOPIC"]` is granted.
//!
//! Nothing is kept for those that subscribe later. Who is slow loses the oldest events, and is told how many.

use std::time::Duration;

use crate::Failure;
pub use crate::bindings::lictor::plugin::events::Event;
use crate::host::events;

/// Publishes to a topic, at most 64 KiB; gives how many commands it goes to.
pub fn publish(topic: &str, data: impl AsRef<[u8]>) -> Result<u32, Failure> {
    events::publish(topic, data.as_ref()).map_err(Failure::from)
}

/// Subscribes to a topic, or with a `*` at its end to all that begin so, until the command ends. For commands that stream.
pub fn subscribe(topics: &str) -> Result<(), Failure> {
    events::subscribe(topics).map_err(Failure::from)
}

/// Waits for the next event. This takes none of the plugin's time.
pub fn next() -> Result<Event, Failure> {
    events::next(None)?.ok_or_else(|| Failure::unavailable("there is no event"))
}

/// Waits for the next event, for no longer than `span`.
pub fn next_within(span: Duration) -> Result<Option<Event>, Failure> {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    events::next(Some(millis)).map_err(Failure::from)
}
