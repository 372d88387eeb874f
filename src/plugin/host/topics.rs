//! Topics: an event that one plugin publishes goes to all current subscribers of its topic. Nothing is kept
//! for later subscribers, and nobody waits for a slow one: it loses the events that it does not take in time,
//! and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::sync::locked;

/// The longest name of a topic, in bytes.
const MAX_TOPIC_BYTES: usize = 128;

/// The largest event, in bytes.
pub(in crate::plugin) const MAX_EVENT_BYTES: usize = 64 << 10;

/// Most events that wait for one subscriber, and their bytes; beyond either the oldest are lost.
const MAX_WAITING: usize = 256;
const MAX_WAITING_BYTES: usize = 256 << 10;

/// Most patterns of one subscriber.
const MAX_PATTERNS: usize = 32;

/// Most memory of one subscriber: the waiting events, which overshoot by up to one event, the queue's slots,
/// and the patterns.
pub(in crate::plugin) const MAX_INBOX_BYTES: usize = MAX_WAITING_BYTES
    + MAX_EVENT_BYTES
    + 2 * MAX_WAITING * size_of::<Event>()
    + MAX_PATTERNS * MAX_TOPIC_BYTES;

/// Returns true if `text` names a topic: letters, digits and `.`, `_`, `-`, `/`, `:`.
pub(in crate::plugin) fn is_topic(text: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&text.len()) && text.bytes().all(may_stand_in_topic)
}

/// Returns true if `text` is a pattern: a topic, or the beginning of topics followed by `*`.
pub(in crate::plugin) fn is_pattern(text: &str) -> bool {
    match text.strip_suffix('*') {
        Some(start) => start.len() < MAX_TOPIC_BYTES && start.bytes().all(may_stand_in_topic),
        None => is_topic(text),
    }
}

fn may_stand_in_topic(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':')
}

/// Returns true if `outer` matches everything that `inner`, a topic or a pattern, matches.
pub(in crate::plugin) fn covers(outer: &str, inner: &str) -> bool {
    match outer.strip_suffix('*') {
        Some(start) => inner.strip_suffix('*').unwrap_or(inner).starts_with(start),
        None => outer == inner,
    }
}

/// A published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Event {
    pub(in crate::plugin) topic: Arc<str>,
    pub(in crate::plugin) data: Arc<[u8]>,
    /// Set if it was published by a command that streams, or by one that such a command runs. A stream could
    /// run for ever on its own events, or on another stream's, if each of them reset its bounds.
    pub(in crate::plugin) is_of_stream: bool,
}

impl Event {
    fn bytes(&self) -> usize {
        self.topic.len() + self.data.len()
    }
}

/// All current subscribers.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Topics(Mutex<Vec<Arc<Inbox>>>);

impl Topics {
    /// Hands `event` to the subscribers of its topic; returns their number.
    pub(in crate::plugin) fn publish(&self, event: &Event) -> u32 {
        let inboxes = self.inboxes();
        let reached = inboxes.iter().filter(|inbox| inbox.offer(event)).count();
        u32::try_from(reached).unwrap_or(u32::MAX)
    }

    /// Makes a new subscriber, to no topic yet.
    pub(in crate::plugin) fn subscriber(self: &Arc<Self>) -> Subscriber {
        let inbox = Arc::new(Inbox::default());
        self.inboxes().push(Arc::clone(&inbox));
        Subscriber { topics: Arc::clone(self), inbox }
    }

    fn inboxes(&self) -> MutexGuard<'_, Vec<Arc<Inbox>>> {
        locked(&self.0)
    }
}

/// A subscriber, which unsubscribes when dropped.
#[derive(Debug)]
pub(in crate::plugin) struct Subscriber {
    topics: Arc<Topics>,
    inbox: Arc<Inbox>,
}

impl Subscriber {
    /// Subscribes to the topics that `pattern` matches; returns false at the maximum number of patterns.
    pub(in crate::plugin) fn add(&self, pattern: String) -> bool {
        let mut waiting = self.inbox.waiting();
        let is_accepted = waiting.patterns.len() < MAX_PATTERNS;
        if is_accepted {
            waiting.patterns.push(pattern);
        }
        is_accepted
    }

    /// Waits for the next event; returns it, with the number of events lost before it.
    pub(in crate::plugin) async fn next(&self) -> (Event, u64) {
        loop {
            // An arrival's notification stays until somebody waits for it.
            if let Some(next) = self.inbox.waiting().take() {
                return next;
            }
            self.inbox.arrived.notified().await;
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.topics.inboxes().retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
    }
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    patterns: Vec<String>,
    events: VecDeque<Event>,
    bytes: usize,
    /// Events that were lost before the first of these.
    lost: u64,
}

impl Inbox {
    /// Takes `event` if a pattern matches its topic; returns true if one does.
    fn offer(&self, event: &Event) -> bool {
        let mut waiting = self.waiting();
        if !waiting.patterns.iter().any(|pattern| covers(pattern, &event.topic)) {
            return false;
        }
        waiting.put(event.clone());
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        locked(&self.waiting)
    }
}

impl Waiting {
    fn put(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > MAX_WAITING || self.bytes > MAX_WAITING_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.lost += 1;
        }
    }

    fn take(&mut self) -> Option<(Event, u64)> {
        let event = self.events.pop_front()?;
        self.bytes -= event.bytes();
        Some((event, std::mem::take(&mut self.lost)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn next(subscriber: &Subscriber) -> Option<(String, String, u64)> {
        let (event, lost) = subscriber.next().now_or_never()?;
        Some((event.topic.to_string(), String::from_utf8_lossy(&event.data).into_owned(), lost))
    }

    fn event(topic: &str, data: &[u8]) -> Event {
        Event { topic: topic.into(), data: data.into(), is_of_stream: false }
    }

    #[test]
    fn an_event_goes_to_those_that_subscribed_to_its_topic() {
        let topics = Arc::new(Topics::default());
        let [one, all, none] = [(); 3].map(|()| topics.subscriber());
        assert!(one.add("jobs/done".into()) && all.add("jobs/*".into()));
        assert_eq!(topics.publish(&event("jobs/done", b"a")), 2);
        assert_eq!(topics.publish(&event("jobs/begun", b"b")), 1);
        assert_eq!(topics.publish(&event("other", b"c")), 0);
        assert_eq!(next(&one), Some(("jobs/done".into(), "a".into(), 0)));
        assert_eq!(next(&one), None);
        assert_eq!(next(&all), Some(("jobs/done".into(), "a".into(), 0)));
        drop(one);
        assert_eq!(topics.publish(&event("jobs/done", b"d")), 1);
        assert_eq!(next(&none), None);
    }

    #[test]
    fn who_is_slow_loses_the_oldest_and_is_told_how_many() {
        let topics = Arc::new(Topics::default());
        let subscriber = topics.subscriber();
        assert!(subscriber.add("*".into()));
        for number in 0..MAX_WAITING + 3 {
            topics.publish(&event("t", number.to_string().as_bytes()));
        }
        assert_eq!(next(&subscriber), Some(("t".into(), "3".into(), 3)));
        assert_eq!(next(&subscriber), Some(("t".into(), "4".into(), 0)));
        for _ in 0..5 {
            topics.publish(&event("t", &[b'x'; MAX_EVENT_BYTES]));
        }
        let (event, lost) = subscriber.next().now_or_never().unwrap();
        assert_eq!((event.data.len(), lost), (MAX_EVENT_BYTES, MAX_WAITING as u64 - 2 + 2));
    }

    #[test]
    fn patterns_cover_what_they_stand_for() {
        for (outer, inner) in [("a", "a"), ("a*", "a"), ("a*", "ab"), ("a*", "a*"), ("a*", "ab*"), ("*", "*")]
        {
            assert!(covers(outer, inner), "{outer} {inner}");
        }
        for (outer, inner) in [("a", "ab"), ("a", "a*"), ("ab*", "a*"), ("a*", "*"), ("a*", "b")] {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
        for text in ["a", "jobs/done.2", "a:b_c-d"] {
            assert!(is_topic(text) && is_pattern(text) && is_pattern(&format!("{text}*")), "{text}");
        }
        for text in ["", "a b", "a*b", "**", "é", &"x".repeat(129)] {
            assert!(!is_topic(text) && !is_pattern(text), "{text}");
        }
        assert!(is_pattern("*") && !is_topic("*"));
    }
}
