//! `lictor:plugin/events`: topics, on which plugins publish events for each other and for clients. Granted by
//! `events = ["TOPIC"]`.

use std::time::Duration;

use tokio::time::timeout;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::lictor::plugin::events;
use super::context::HostState;
use super::granted::Granted;
use super::grants::EventsGrant;
use super::interface::{Grant, Interface};
use super::topics::{Event, MAX_EVENT_BYTES, MAX_INBOX_BYTES, covers, is_pattern, is_topic};
use super::ungranted::Ungranted;
use crate::plugin::bindings::lictor::plugin::types::Failure;
use crate::text::shown;
use crate::usage::Observed;

mod bindings {
    #![allow(missing_docs, reason = "generated; the documentation stands in wit/")]

    wasmtime::component::bindgen!({
        path: "wit",
        inline: "package lictor:host; world events { import lictor:plugin/events@0.1.0; }",
        imports: { default: async | trappable },
        with: { "lictor:plugin/types": crate::plugin::bindings::lictor::plugin::types },
    });
}

/// Characters of a topic that are logged.
const MAX_TOPIC_CHARS: usize = 128;

pub(super) const INTERFACE: Interface = Interface {
    names: &["lictor:plugin/events"],
    version: (0, 1),
    grant: Some(Grant {
        lines: "[plugins.NAME.grants]\nevents = [\"TOPIC\"]",
        is_in: |grants| grants.events.is_some(),
    }),
    link,
};

fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    events::add_to_linker::<HostState, HasSelf<HostState>>(linker, |state| state)
}

/// Returns true if a list of the plugin's grant covers `topics`, and notes the use of the entry that does.
fn is_granted(granted: &Granted, list: fn(&EventsGrant) -> &Vec<Observed<String>>, topics: &str) -> bool {
    let grant = granted.grants.events.as_ref();
    let covering = grant.and_then(|grant| list(grant).iter().find(|granted| covers(granted, topics)));
    covering.map(Observed::note).is_some()
}

fn ungranted<'a>(verb: &'static str, kind: &'static str, topics: &'a str) -> Ungranted<'a> {
    Ungranted { kind, name: topics, key: "events", verb, option: None }
}

fn refuse<T>(code: &str, message: &str) -> wasmtime::Result<Result<T, Failure>> {
    Ok(Err(Failure { code: code.to_owned(), message: message.to_owned() }))
}

impl HostState {
    /// Logs that `operation` failed, with its `topic`, and returns the failure for the plugin.
    fn refused<T>(
        &self,
        operation: &str,
        topic: &str,
        message: &str,
    ) -> wasmtime::Result<Result<T, Failure>> {
        let topic = shown(topic, MAX_TOPIC_CHARS);
        self.log
            .host_refused(self.label().as_ref(), &format_args!("`{operation}` of \"{topic}\": {message}"));
        refuse("bad-arguments", message)
    }
}

impl events::Host for HostState {
    async fn publish(&mut self, topic: String, data: Vec<u8>) -> wasmtime::Result<Result<u32, Failure>> {
        let _span = self.operation("events.publish", topic.len() + data.len())?;
        if !is_topic(&topic) {
            return self.refused("publish", &topic, "a topic is 1 to 128 letters, digits and . _ - / :");
        }
        if data.len() > MAX_EVENT_BYTES {
            return self.refused("publish", &topic, "an event has at most 65536 bytes");
        }
        if !is_granted(&self.granted, |grant| &grant.publishes, &topic) {
            self.log
                .not_granted(self.label().as_ref(), ungranted("publish ", "to publish to the topic", &topic));
            return refuse("denied", "the plugin may not publish to this topic");
        }
        let is_of_stream = self.call.as_ref().is_some_and(|call| call.is_of_stream());
        let event = Event { topic: topic.into(), data: data.into(), is_of_stream };
        Ok(Ok(self.granted.topics.publish(&event)))
    }

    async fn subscribe(&mut self, topics: String) -> wasmtime::Result<Result<(), Failure>> {
        let _span = self.operation("events.subscribe", topics.len())?;
        let Some(streaming) = &mut self.streaming else {
            return refuse("unavailable", "only a command that streams may subscribe");
        };
        if !is_pattern(&topics) {
            return self.refused(
                "subscribe",
                &topics,
                "this is no topic, and no start of topics with a * behind it",
            );
        }
        if !is_granted(&self.granted, |grant| &grant.subscribes, &topics) {
            self.log.not_granted(
                self.label().as_ref(),
                ungranted("subscribe ", "to subscribe to the topics", &topics),
            );
            return refuse("denied", "the plugin may not subscribe to these topics");
        }
        if streaming.subscriber.is_none() {
            self.handles.hold_beside(MAX_INBOX_BYTES, &mut self.memory)?;
        }
        let subscriber = streaming.subscriber.get_or_insert_with(|| self.granted.topics.subscriber());
        match subscriber.add(topics) {
            true => Ok(Ok(())),
            false => refuse("failed", "a command subscribes 32 times at most"),
        }
    }

    async fn next(
        &mut self,
        timeout_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<events::Event>, Failure>> {
        let Some((streaming, subscriber)) =
            self.streaming.as_ref().and_then(|streaming| Some((streaming, streaming.subscriber.as_ref()?)))
        else {
            return refuse("failed", "there is nothing that it has subscribed to");
        };
        // Waiting for an event does not count as the plugin being slow.
        streaming.progress.pause();
        let came = match timeout_ms {
            Some(limit) => timeout(Duration::from_millis(limit), subscriber.next()).await.ok(),
            None => Some(subscriber.next().await),
        };
        let Some((event, lost)) = came else {
            streaming.progress.resume();
            return Ok(Ok(None));
        };
        let (topic, data) = (event.topic.to_string(), event.data.to_vec());
        if event.is_of_stream {
            streaming.progress.resume();
        } else {
            streaming.progress.step();
            self.went_on();
        }
        Ok(Ok(Some(events::Event { topic, data, lost })))
    }
}
