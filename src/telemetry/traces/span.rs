//! Spans: of a request, and of what it waits for.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::context::{SpanId, TraceId, Traceparent};
use super::finished::{Attribute, Finished, Kind, Value, bounded};
use super::queue::Tracer;

/// A place in a trace, under which spans are made. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Context {
    tracer: Tracer,
    trace: TraceId,
    span: SpanId,
    is_sampled: bool,
    clock: Clock,
}

/// A moment by both clocks: spans are measured by one that never goes back, and told by the other.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: Instant,
    since_epoch: Duration,
}

impl Clock {
    fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), since_epoch }
    }

    fn since_epoch(self, moment: Instant) -> Duration {
        match moment.checked_duration_since(self.at) {
            Some(later) => self.since_epoch + later,
            None => self.since_epoch.saturating_sub(self.at - moment),
        }
    }
}

impl Context {
    /// Begins a span here; `None` if the trace is not recorded.
    #[must_use]
    pub fn span(&self, name: &'static str, kind: Kind) -> Option<Span> {
        self.is_sampled.then(|| Span {
            context: Self { span: SpanId::random(), ..self.clone() },
            parent: self.span,
            name: name.into(),
            kind,
            began: Instant::now(),
            attributes: Vec::new(),
            failure: None,
        })
    }

    /// The header that continues the trace in another program.
    #[must_use]
    pub fn traceparent(&self) -> Traceparent {
        Traceparent { trace: self.trace, span: self.span, is_sampled: self.is_sampled }
    }
}

/// A span that goes on until it is dropped.
#[derive(Debug)]
pub struct Span {
    context: Context,
    parent: SpanId,
    name: Cow<'static, str>,
    kind: Kind,
    began: Instant,
    attributes: Vec<Attribute>,
    failure: Option<Cow<'static, str>>,
}

impl Span {
    /// The place of its parts.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Names it anew, by what was found out.
    pub fn rename(&mut self, name: &str) {
        self.name = bounded(name.to_owned());
    }

    /// Adds a fact.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push((name, value.into()));
    }

    /// Notes that it failed, with the error's code.
    pub fn fail(&mut self, code: impl Into<Cow<'static, str>>) {
        self.failure = Some(code.into());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Context { tracer, trace, span, clock, .. } = &self.context;
        tracer.send(Finished {
            trace: *trace,
            id: *span,
            parent: Some(self.parent),
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            began: clock.since_epoch(self.began),
            ended: clock.since_epoch(Instant::now()),
            attributes: std::mem::take(&mut self.attributes),
            failure: self.failure.take(),
        });
    }
}

/// The trace of a request that a client sent, or that a plugin did for it.
#[derive(Debug)]
pub struct Trace {
    context: Context,
    parent: Option<SpanId>,
    has_left_queue: AtomicBool,
}

impl Trace {
    /// Begins a trace.
    #[must_use]
    pub fn new(tracer: Tracer) -> Self {
        Self::of(tracer, TraceId::random(), None, true)
    }

    /// Joins the trace of the caller, which is recorded here if `is_sampled`.
    #[must_use]
    pub fn joining(tracer: Tracer, caller: Traceparent, is_sampled: bool) -> Self {
        Self::of(tracer, caller.trace, Some(caller.span), is_sampled)
    }

    /// Makes the trace of a request whose span is `span`.
    #[must_use]
    pub fn within(span: &Span) -> Self {
        Self { context: span.context.clone(), parent: None, has_left_queue: AtomicBool::new(false) }
    }

    fn of(tracer: Tracer, trace: TraceId, parent: Option<SpanId>, is_sampled: bool) -> Self {
        let context = Context { tracer, trace, span: SpanId::random(), is_sampled, clock: Clock::now() };
        Self { context, parent, has_left_queue: AtomicBool::new(false) }
    }

    /// The place of the request's parts.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns true if its spans are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.context.is_sampled
    }

    /// Ends the span of the time in the queue, which the request entered at `arrived`, unless that has ended.
    pub fn leave_queue(&self, arrived: Instant) {
        if !self.has_left_queue.swap(true, Ordering::Relaxed)
            && let Some(mut span) = self.context.span("queue", Kind::Internal)
        {
            span.began = arrived;
        }
    }

    /// Ends the request's own span.
    pub fn end(
        &self,
        name: &str,
        (began, ended): (Instant, Instant),
        attributes: Vec<Attribute>,
        failure: Option<&'static str>,
    ) {
        let Self { context: Context { tracer, trace, span, is_sampled, clock }, parent, .. } = self;
        if *is_sampled {
            tracer.send(Finished {
                trace: *trace,
                id: *span,
                parent: *parent,
                name: bounded(name.to_owned()),
                kind: Kind::Server,
                began: clock.since_epoch(began),
                ended: clock.since_epoch(ended),
                attributes,
                failure: failure.map(Cow::Borrowed),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finished::MAX_TEXT_BYTES;
    use super::super::queue::{MAX_QUEUED, queue};
    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn spans_know_their_parents_and_times() {
        let (tracer, mut ended) = queue();
        let trace = Trace::joining(tracer, Traceparent::parse(CALLER).unwrap(), true);
        let (arrived, then) = (Instant::now(), SystemTime::now());
        let mut outer = trace.context().span("outer", Kind::Internal).unwrap();
        outer.note("text", "é".repeat(MAX_TEXT_BYTES));
        outer.fail("timeout");
        drop(outer.context().span("inner", Kind::Client));
        drop(outer);
        trace.leave_queue(arrived);
        trace.leave_queue(arrived);
        trace.end("echo", (arrived, Instant::now()), Vec::new(), None);
        let [inner, outer, queue, root] = std::array::from_fn(|_| ended.try_recv().unwrap());
        assert!(ended.try_recv().is_err());
        let names = [&inner, &outer, &queue, &root].map(|span| (&*span.name, span.kind));
        let internal = Kind::Internal;
        let wanted =
            [("inner", Kind::Client), ("outer", internal), ("queue", internal), ("echo", Kind::Server)];
        assert_eq!(names, wanted);
        assert_eq!(
            (inner.parent, outer.parent, queue.parent),
            (Some(outer.id), Some(root.id), Some(root.id))
        );
        let caller = Traceparent::parse(CALLER).unwrap();
        assert_eq!((root.parent, root.trace, inner.trace), (Some(caller.span), caller.trace, caller.trace));
        assert_eq!(outer.failure.as_deref(), Some("timeout"));
        assert_eq!(outer.attributes, [("text", Value::Text("é".repeat(MAX_TEXT_BYTES / 2).into()))]);
        for span in [&inner, &outer, &queue, &root] {
            let off = then.duration_since(SystemTime::UNIX_EPOCH).unwrap().abs_diff(span.began);
            assert!(span.began <= span.ended && off < Duration::from_secs(60), "{span:?}");
        }
        assert!(root.began <= outer.began && inner.ended <= root.ended);
    }

    #[test]
    fn a_trace_that_is_not_recorded_is_handed_on() {
        let (tracer, mut ended) = queue();
        let caller = Traceparent::parse(CALLER).unwrap();
        let trace = Trace::joining(tracer, caller, false);
        assert!(trace.context().span("outer", Kind::Internal).is_none() && !trace.is_sampled());
        trace.leave_queue(Instant::now());
        trace.end("echo", (Instant::now(), Instant::now()), Vec::new(), None);
        assert!(ended.try_recv().is_err());
        let next = trace.context().traceparent();
        assert_eq!((next.trace, next.is_sampled()), (caller.trace, false));
        assert_ne!(next.span, caller.span);
    }

    #[test]
    fn a_full_queue_drops_spans_and_keeps_nobody() {
        let (tracer, mut ended) = queue();
        let trace = Trace::new(tracer);
        for _ in 0..MAX_QUEUED + 7 {
            drop(trace.context().span("step", Kind::Internal));
        }
        let queued = std::iter::from_fn(|| ended.try_recv().ok()).count();
        assert_eq!(queued, MAX_QUEUED);
    }
}
