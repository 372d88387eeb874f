//! Spans as OTLP has them: the messages of `opentelemetry/proto/trace/v1` that are sent, with the fields that
//! are set.

use std::time::Duration;

use prost::Message;

use crate::telemetry::traces::{Attribute, Finished, Kind, Value};

/// What is sent, and what each span of it belongs to.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// The program whose spans are sent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
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
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
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

/// The code of a status of what failed.
const ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Written", tags = "1, 3")]
    value: Option<Written>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Written {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// A collector's answer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// What a collector did not take.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

impl Resource {
    /// Describes this process.
    pub(super) fn of_process() -> Self {
        let instance = format!("{:032x}", fastrand::u128(..));
        let facts = [
            ("service.name", env!("CARGO_PKG_NAME").to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance),
        ];
        Self { attributes: facts.into_iter().map(|(name, value)| key_value(name, value.into())).collect() }
    }
}

/// Encodes `spans` of `resource`.
pub(super) fn encode(resource: &Resource, spans: Vec<Finished>) -> Vec<u8> {
    let scope =
        Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = spans.into_iter().map(span).collect();
    let of_scope = ScopeSpans { scope: Some(scope), spans };
    let of_resource = ResourceSpans { resource: Some(resource.clone()), scope_spans: vec![of_scope] };
    Request { resource_spans: vec![of_resource] }.encode_to_vec()
}

fn span(finished: Finished) -> Span {
    let Finished { trace, id, parent, name, kind, began, ended, attributes, failure } = finished;
    let failed = failure.map(|code| ("error.type", Value::from(code.into_owned())));
    Span {
        trace_id: trace.bytes().to_vec(),
        span_id: id.bytes().to_vec(),
        parent_span_id: parent.map(|parent| parent.bytes().to_vec()).unwrap_or_default(),
        name: name.into_owned(),
        kind: match kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: nanoseconds(began),
        end_time_unix_nano: nanoseconds(ended),
        status: failed.is_some().then_some(Status { code: ERROR }),
        attributes: attributes.into_iter().chain(failed).map(attribute).collect(),
    }
}

fn attribute((name, value): Attribute) -> KeyValue {
    key_value(name, value)
}

fn key_value(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Written::Text(text.into_owned()),
        Value::Number(number) => Written::Number(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanoseconds(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
