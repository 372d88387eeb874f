//! Resources that `[plugins.NAME.grants]` names: URLs, networks, stores, topics, folders.
//!
//! Each type can only be built from a valid text; the error says what to write instead. Knows nothing of
//! files, spans or the rest of the config.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::{PluginName, StoreName};
use crate::text::InvalidText;

/// A key-value store: one of the plugin's own, or, prefixed with a plugin's name, one of that plugin's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreGrant {
    /// The store's owner; `None` for the plugin itself.
    pub plugin: Option<PluginName>,
    /// The store's name, as its owner calls it.
    pub store: StoreName,
}

impl TryFrom<String> for StoreGrant {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let (plugin, store) = match text.split_once('/') {
            Some((plugin, store)) => (Some(plugin.parse()?), store),
            None => (None, text.as_str()),
        };
        Ok(Self { plugin, store: store.parse()? })
    }
}

/// The name by which a plugin opens the store.
impl fmt::Display for StoreGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(f, "{plugin}/{}", self.store),
            None => self.store.fmt(f),
        }
    }
}

/// Topics that a plugin may publish or subscribe to, or both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventGrant {
    /// True if the plugin may publish to them.
    pub publish: bool,
    /// True if the plugin's commands may subscribe to them.
    pub subscribe: bool,
    /// A topic, or a prefix and a `*`.
    pub topics: String,
}

impl fmt::Display for EventGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match (self.publish, self.subscribe) {
            (true, false) => "publish ",
            (false, true) => "subscribe ",
            _ => "",
        };
        write!(f, "{direction}{}", self.topics)
    }
}

impl EventGrant {
    /// The directions and topics that both `self` and `other` allow, if any.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        let (publish, subscribe) = (self.publish && other.publish, self.subscribe && other.subscribe);
        let topics = match (covers(&self.topics, &other.topics), covers(&other.topics, &self.topics)) {
            (true, _) => &other.topics,
            (_, true) => &self.topics,
            _ => return None,
        };
        (publish || subscribe).then(|| Self { publish, subscribe, topics: topics.clone() })
    }
}

/// Returns true if `pattern` includes all topics of `other`.
fn covers(pattern: &str, other: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => other.starts_with(start),
        None => pattern == other,
    }
}

/// The longest name of a topic, in bytes.
const MAX_TOPIC_BYTES: usize = 128;

impl TryFrom<String> for EventGrant {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let (publish, subscribe, topics) = match text.split_once(' ') {
            Some(("publish", topics)) => (true, false, topics),
            Some(("subscribe", topics)) => (false, true, topics),
            _ => (true, true, text.as_str()),
        };
        let start = topics.strip_suffix('*').unwrap_or(topics);
        let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':');
        if topics.is_empty() || topics.len() > MAX_TOPIC_BYTES || !start.bytes().all(may_stand) {
            let advice = "write a topic of letters, digits and . _ - / : such as \"jobs/done\", or a start of topics and a \
                          star, \"jobs/*\"; for one direction only put a word before it, \"publish jobs/done\" or \
                          \"subscribe jobs/*\"";
            return Err(InvalidText::new("this is not a topic").advise(advice));
        }
        Ok(Self { publish, subscribe, topics: topics.to_owned() })
    }
}

/// A range of addresses, such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let advice = "write an address, or a network such as \"10.1.0.0/16\" or \"fd00::/8\"";
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let Ok(network) = network else {
            return Err(InvalidText::new("this is not an IP network").advise(advice));
        };
        if network.trunc() != network {
            let what = "this network has more digits than its length keeps";
            return Err(InvalidText::new(what).advise(format!("write \"{}\"", network.trunc())));
        }
        Ok(Self(network))
    }
}

/// The absolute path under which a plugin sees a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestFolder(pub String);

impl TryFrom<String> for GuestFolder {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let is_plain = |segment: &str| !matches!(segment, "" | "." | "..");
        let is_path = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain));
        if !is_path || text.chars().any(char::is_control) || text.len() > MAX_GUEST_FOLDER_BYTES {
            let advice = "write the path by which the plugin opens it, such as \"/data\"";
            return Err(InvalidText::new("a plugin sees a folder under an absolute path").advise(advice));
        }
        Ok(Self(text))
    }
}

/// The longest path of a folder as a plugin sees it, in bytes.
const MAX_GUEST_FOLDER_BYTES: usize = 256;

/// A URL; a plugin may send requests to it and below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPrefix(pub String);

impl TryFrom<String> for HttpPrefix {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        let refuse = |what: &str| {
            let advice = "write the scheme, the host, and if wanted the port and the start of the path, such as \
                          \"https://api.example.com:8443/v1\"";
            Err(InvalidText::new(what).advise(advice))
        };
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            return refuse("a URL to grant begins with https:// or http://");
        };
        if has_odd_character(rest) {
            return refuse("this URL holds a character that none may");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return refuse("a granted URL can't hold a user or a password");
        }
        if path.contains(['?', '#']) {
            return refuse("a granted URL can't hold a query or a fragment");
        }
        if AMBIGUOUS.iter().any(|escaped| path.to_ascii_lowercase().contains(escaped)) {
            return refuse(
                "a granted path can't hold an escaped `.`, `/`, `\\`, `;` or `%`: servers read them in two ways",
            );
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return refuse("a granted URL can't step out of its path with `.` or `..`");
        }
        match self::authority(authority) {
            Ok(_) => Ok(Self(text)),
            Err(what) => refuse(what),
        }
    }
}

/// Escapes that a request's path may not hold where a path is granted; a grant with one would match nothing.
const AMBIGUOUS: [&str; 5] = ["%2e", "%2f", "%5c", "%3b", "%25"];

/// Returns true if a part of a URL holds a character that none may.
pub(super) fn has_odd_character(part: &str) -> bool {
    part.contains(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`'))
}

/// Returns the host and the port of a URL's authority, an IPv6 address without its brackets.
pub(super) fn authority(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "this is not an IPv6 address")?;
            (address, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.contains('*') {
        return Err("a URL names one host here, not a pattern");
    }
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    if !text.starts_with('[') && !host.split('.').all(is_label) {
        return Err("a URL needs a host's name or address here");
    }
    match (port, port.strip_prefix(':').and_then(|digits| digits.parse::<u16>().ok())) {
        ("", _) => Ok((host, None)),
        (_, Some(port)) if port > 0 => Ok((host, Some(port))),
        _ => Err("the port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_own_or_of_a_named_plugin() {
        for text in ["default", "kv/default", "a.b/c-d"] {
            assert_eq!(StoreGrant::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in ["", "/default", "kv/", "a/b/c", "a b"] {
            assert!(StoreGrant::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn topics_are_for_both_directions_or_one() {
        for (text, publish, subscribe, topics) in [
            ("jobs/done", true, true, "jobs/done"),
            ("*", true, true, "*"),
            ("publish a.b-c_d:e", true, false, "a.b-c_d:e"),
            ("subscribe jobs/*", false, true, "jobs/*"),
        ] {
            let topics = topics.to_owned();
            let grant = EventGrant { publish, subscribe, topics };
            assert_eq!(grant.to_string(), text);
            assert_eq!(EventGrant::try_from(text.to_owned()).unwrap(), grant);
        }
        for text in ["", "publish ", "tell x", "a b", "a*b", "**", "é", &"x".repeat(129)] {
            assert!(EventGrant::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_written_whole() {
        for text in ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8", "0.0.0.0/0"] {
            assert!(Network::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "10/8"] {
            assert!(Network::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn folders_have_absolute_names() {
        for text in ["/data", "/var/lib/x"] {
            assert!(GuestFolder::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in ["", "/", "data", "/a/", "/a/../b", "/a//b", "/a\nb"] {
            assert!(GuestFolder::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn granted_urls_are_a_scheme_a_host_and_a_path() {
        for text in ["https://a.example", "http://10.0.0.1:8080", "http://[::1]:80/x/", "https://a/b%20c"] {
            assert!(HttpPrefix::try_from(text.to_owned()).is_ok(), "{text}");
        }
        for text in [
            "",
            "a.example",
            "ftp://a",
            "https://",
            "https:///x",
            "https://u:p@a",
            "https://a?x",
            "https://a/#x",
            "https://*.a",
            "https://a:0",
            "https://a:x",
            "https://a:",
            "https://[::g]",
            "https://a/../b",
            "https://a/%2e%2E/b",
            "https://a/b%2Fc",
            "https://a/b%253",
            "https://a b",
            "https://[::1]x",
            "https://a..b",
            "https://é",
        ] {
            assert!(HttpPrefix::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
