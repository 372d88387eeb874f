//! The source of an event, and the criteria that distinguish events.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::SocketAddr;

use tracing::Metadata;
use tracing::field::{Field, Visit};

use crate::network::{Network, PeerAddress};

/// Maximum events in a second of one message and one client, plugin or other source.
const EVENTS_PER_SECOND: u32 = 100;
/// Maximum events in a second of one message that only an operator causes: at the start, and by a reload.
const OWN_EVENTS_PER_SECOND: u32 = 1_000;
/// Maximum lines in a second of one plugin for one client, and of one plugin outside of calls: its output and
/// its own events.
const PLUGIN_LINES_PER_SECOND: u32 = 200;
/// Maximum events in a second of one message and one stranger's address (IPv6: /64 network).
const STRANGER_EVENTS_PER_SECOND: u32 = 20;

/// The name of events that were admitted where they were made.
pub(super) const ADMITTED: &str = "admitted";

/// The name of events that report a lasting state, and would report it again and again: the first is written,
/// the others are counted until there has been none for a while.
pub const LASTING: &str = "lasting";

/// Fields in which one fault differs from call to call.
const OF_ONE_CALL: &[&str] = &["connection", "request"];

pub(super) fn is_plugins_line(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("lictor::plugin::")
}

/// The criteria that distinguish an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) message: String,
    pub(super) client: String,
    pub(super) plugin: String,
    pub(super) stranger: Option<Stranger>,
    pub(super) kind: Kind,
    /// Set for the combined events of all sources beyond the limit.
    pub(super) is_rest: bool,
}

/// The subject of an event, as far as its budget depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    #[default]
    Other,
    PluginLines,
    Own,
    /// A lasting state, reported again by each event; the number is a hash of all other fields.
    Lasting(u64),
}

/// An unknown peer; without an address if nothing at all is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stranger(pub(super) Option<Network>);

impl Source {
    /// Maximum events of this source written in a second.
    pub(super) fn limit(&self) -> u32 {
        match self.kind {
            _ if self.stranger.is_some() => STRANGER_EVENTS_PER_SECOND,
            Kind::PluginLines => PLUGIN_LINES_PER_SECOND,
            Kind::Own => OWN_EVENTS_PER_SECOND,
            Kind::Lasting(_) | Kind::Other => EVENTS_PER_SECOND,
        }
    }
}

/// The common name of plugins' lines.
pub(super) const PLUGIN_LINES: &str = "plugin output";

/// The fields of an event that identify its source.
#[derive(Debug, Default)]
pub(super) struct SourceFields {
    message: String,
    client: String,
    plugin: String,
    peer: String,
    /// Hash of all other fields, except those of one call; distinguishes lasting states.
    details: Option<DefaultHasher>,
}

impl SourceFields {
    pub(super) fn new(metadata: &Metadata<'_>) -> Self {
        let details = (metadata.name() == LASTING).then(DefaultHasher::new);
        Self { details, ..Self::default() }
    }

    pub(super) fn source(self, metadata: &Metadata<'_>) -> Source {
        let Self { message, client, plugin, peer, details } = self;
        let is_nobodys = client.is_empty() && plugin.is_empty() && peer.is_empty();
        let is_own = |target: &str| {
            target.starts_with("lictor::app") || ["lictor::reload", "lictor::connection"].contains(&target)
        };
        let kind = match (metadata.target(), details) {
            (_, Some(details)) => Kind::Lasting(details.finish()),
            _ if is_plugins_line(metadata) => {
                let message = PLUGIN_LINES.to_owned();
                return Source { message, client, plugin, kind: Kind::PluginLines, ..Source::default() };
            }
            (target, None) if is_nobodys && is_own(target) => Kind::Own,
            _ => Kind::Other,
        };
        let is_strangers = client.is_empty() && !peer.is_empty();
        let address = || peer.parse::<SocketAddr>().ok().map(|peer| Network::of(PeerAddress::from(peer)));
        let stranger = is_strangers.then(|| Stranger(address()));
        Source { message, client, plugin, stranger, kind, is_rest: false }
    }

    fn field(&mut self, field: &Field) -> Option<&mut String> {
        match field.name() {
            "message" => Some(&mut self.message),
            "client" => Some(&mut self.client),
            "plugin" => Some(&mut self.plugin),
            "peer" => Some(&mut self.peer),
            _ => None,
        }
    }
}

impl Visit for SourceFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(text) = self.field(field) {
            value.clone_into(text);
        } else if let Some(details) = &mut self.details
            && !OF_ONE_CALL.contains(&field.name())
        {
            value.hash(details);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.details.is_some() || self.field(field).is_some() {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}
