//! A collector of traces: takes OTLP over HTTP, and decodes what it was sent.

use std::collections::BTreeMap;

use prost::Message;
use testkit::certs::Identity;
use testkit::eventually;
use testkit::server::Server;
use testkit::web::Web;

pub const TAKEN: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

pub struct Collector {
    pub web: Web,
}

/// A span as the collector got it.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub times: (u64, u64),
    pub attributes: BTreeMap<String, String>,
    pub is_failed: bool,
    /// Attributes of the program.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    pub fn new() -> Self {
        Self { web: Web::answering(TAKEN) }
    }

    pub fn secure(identity: &Identity) -> Self {
        Self { web: Web::secure(identity, TAKEN) }
    }

    /// The section that has `sample` of the requests sent here.
    pub fn section(&self, sample: &str) -> String {
        format!("[telemetry]\notlp = {:?}\nsample = {sample}", self.web.url(""))
    }

    pub fn spans(&self) -> Vec<Span> {
        let seen = self.web.seen();
        seen.iter().flat_map(|request| decoded(&request.bytes)).collect()
    }

    /// Stops `server`, which sends what it has; returns the spans that came.
    pub fn last_spans(&self, mut server: Server) -> Vec<Span> {
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        self.spans()
    }

    /// Waits for a span of this name.
    pub fn span(&self, name: &str) -> Span {
        eventually(&format!("a span {name}"), || self.spans().into_iter().find(|span| span.name == name))
    }

    /// Waits for a request's own span with this text in its attribute.
    pub fn with(&self, attribute: &str, text: &str) -> Span {
        eventually(&format!("a span with {attribute}={text}"), || {
            self.spans().into_iter().find(|span| span.attribute(attribute) == text)
        })
    }

    /// Returns the parts of a span that have come, by name; they are sent before it.
    pub fn parts(&self, of: &Span) -> BTreeMap<String, Span> {
        let mut parts = BTreeMap::new();
        for span in self.spans().into_iter().filter(|span| span.parent == of.id && span.trace == of.trace) {
            let other = parts.insert(span.name.clone(), span);
            assert!(other.is_none(), "two parts have one name: {other:?}");
        }
        parts
    }
}

impl Span {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    pub fn assert_within(&self, outer: &Self) {
        assert!(self.times.0 <= self.times.1, "{self:?}");
        assert!(outer.times.0 <= self.times.0, "{self:?} begins before {outer:?}");
        assert_eq!(self.trace, outer.trace);
    }
}

fn decoded(body: &[u8]) -> Vec<Span> {
    let request = Request::decode(body).expect("a request is OTLP");
    let of_resource = |resource: ResourceSpans| {
        let facts = texts(resource.resource.expect("spans have a resource").attributes);
        let spans = resource.scopes.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| Span {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            kind: span.kind,
            times: (span.start, span.end),
            attributes: texts(span.attributes),
            is_failed: span.status.is_some_and(|status| status.code == 2),
            resource: facts.clone(),
        })
    };
    request.resources.into_iter().flat_map(of_resource).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::Text(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        None => panic!("an attribute has a value"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

// The messages of `opentelemetry/proto/collector/trace/v1/trace_service.proto`, as far as they are read here.

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Sent>,
}

#[derive(Clone, PartialEq, Message)]
struct Sent {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}
