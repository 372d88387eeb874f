//! Traces: the spans of requests that were chosen, on their way to a collector.
//!
//! The context of a request's trace lies where the request does, and is handed on by value: nothing here is
//! kept by thread. A span that has ended enters a bounded queue, and is dropped and counted if that is full,
//! so that no collector costs a request any time.

mod context;
mod finished;
mod queue;
mod sampling;
mod span;

pub use context::{SpanId, TRACEPARENT, TraceId, Traceparent};
pub use finished::{Attribute, Finished, Kind, Value};
pub use queue::{Tracer, queue};
pub use sampling::Sampler;
pub use span::{Context, Span, Trace};
