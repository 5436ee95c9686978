//! Traces: what a call, and what follows from it in every service behind, took of the time.
//!
//! A trace comes with a call as W3C's `traceparent`, goes on with calls of other services, and travels with the feeds: a commit keeps the traces that led
//! to it, each as the text of its `traceparent`, and whoever follows the feed goes on with every one of them. Only those that are sampled are kept, and of
//! a commit [`MAX_TRACES`] at most.

use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use std::sync::{Arc, OnceLock};
use tonic::Code;

/// The most traces that go on with a commit: of more that led to it, the others end there.
pub const MAX_TRACES: usize = 16;
/// The header, and the name in W3C's specification, of what tells a trace.
const TRACE_PARENT: &str = "traceparent";

/// Where spans go. Not set: nowhere, and nothing is done for them.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

pub(super) fn start(tracer: SdkTracer) {
    // Only the first is heeded: a process begins to send once.
    drop(TRACER.set(tracer));
}

/// The headers of a request, to write a trace into.
struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = http::HeaderName::try_from(key);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// The text of a `traceparent` alone. What else a client says, `tracestate`, may hold anything, and goes nowhere.
struct Text<'a>(&'a str);

impl Extractor for Text<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACE_PARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACE_PARENT]
    }
}

/// The text of a span's `traceparent`. `None`: it is not sampled, or there is none.
fn text_of(span: &SpanContext) -> Option<String> {
    let is_followed = span.is_valid() && span.is_sampled();
    is_followed.then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The span of a call.
#[derive(Clone)]
pub(crate) struct CallSpan(Context);

impl CallSpan {
    /// Of a call that came with these headers. `None`: spans go nowhere.
    pub(crate) fn of_server(headers: &HeaderMap, method: &Arc<str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let told = headers.get(TRACE_PARENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Text(told));
        Some(Self::begin(tracer, &parent, method, SpanKind::Server))
    }

    /// Of a call of another service that a call, or a step of work, makes. `None`: neither does, or spans go nowhere.
    pub(crate) fn of_client(method: &Arc<str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = Context::current();
        parent.span().span_context().is_valid().then(|| Self::begin(tracer, &parent, method, SpanKind::Client))
    }

    fn begin(tracer: &SdkTracer, parent: &Context, method: &Arc<str>, kind: SpanKind) -> Self {
        let attributes =
            [KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", Value::from(method.clone()))];
        let span = tracer.span_builder(method.to_string()).with_kind(kind).with_attributes(attributes);
        Self(parent.with_span(span.start_with_context(tracer, parent)))
    }

    /// The context that what belongs to the call runs in.
    pub(crate) fn context(&self) -> Context {
        self.0.clone()
    }

    /// The trace's id, if it is sampled: for the log.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let span = self.0.span();
        span.span_context().is_sampled().then(|| span.span_context().trace_id().to_string())
    }

    /// Has the called service go on with the trace.
    pub(crate) fn write_into(&self, headers: &mut HeaderMap) {
        TraceContextPropagator::new().inject_context(&self.0, &mut Headers(headers));
    }

    /// Ends it. `is_error`: the callee is to blame.
    pub(crate) fn end(self, code: Code, name: &'static str, is_error: bool) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new("rpc.response.status_code", name));
        if is_error {
            span.set_attribute(KeyValue::new("error.type", name));
            span.set_status(Status::error(code.description()));
        }
        span.end();
    }
}

/// Whether spans go anywhere: nobody needs to look for traces otherwise.
pub fn are_sent() -> bool {
    TRACER.get().is_some()
}

/// The trace of the call in work, to go on with elsewhere. `None`: it is not sampled.
pub fn current() -> Option<String> {
    TRACER.get()?;
    text_of(Context::current().span().span_context())
}

/// Traces of what led to something, each once and [`MAX_TRACES`] at most.
pub fn merge(traces: &mut Vec<String>, others: impl IntoIterator<Item = String>) {
    for other in others {
        if traces.len() < MAX_TRACES && !traces.contains(&other) {
            traces.push(other);
        }
    }
}

/// A step of work that goes on with traces: it has a span in each. Dropped before it is done, it has failed.
#[derive(Default)]
pub struct TracedStep {
    spans: Vec<Context>,
}

impl TracedStep {
    /// Begins a step of a service. Nothing is done where there are no traces, or spans go nowhere.
    pub fn begin(name: &'static str, service: &'static str, tenant: &str, traces: &[String]) -> Self {
        let Some(through) = TRACER.get() else { return Self::default() };
        let begin = |trace: &String| {
            let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Text(trace));
            let attributes =
                [KeyValue::new("quintile.service", service), KeyValue::new("quintile.tenant", tenant.to_owned())];
            let span = through.span_builder(name).with_kind(SpanKind::Consumer).with_attributes(attributes);
            parent.span().span_context().is_valid().then(|| parent.with_span(span.start_with_context(through, &parent)))
        };
        Self { spans: traces.iter().take(MAX_TRACES).filter_map(begin).collect() }
    }

    /// The traces that go on behind this step.
    pub fn traces(&self) -> Vec<String> {
        self.spans.iter().filter_map(|span| text_of(span.span().span_context())).collect()
    }

    /// Says how many of something the step had to do with: never a value of anybody.
    pub fn count(&self, name: &'static str, count: usize) {
        for span in &self.spans {
            span.span().set_attribute(KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX)));
        }
    }

    /// Ends it: what it did is committed.
    pub fn done(mut self) {
        for span in std::mem::take(&mut self.spans) {
            span.span().end();
        }
    }
}

impl Drop for TracedStep {
    fn drop(&mut self) {
        for span in &self.spans {
            span.span().set_status(Status::error("not committed"));
            span.span().end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider};

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The one place of these tests that sets spans up: the process has one place that they go to.
    fn sent() -> InMemorySpanExporter {
        static SENT: OnceLock<(InMemorySpanExporter, SdkTracerProvider)> = OnceLock::new();
        let (exporter, _) = SENT.get_or_init(|| {
            let exporter = InMemorySpanExporter::default();
            let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
            let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(sampler);
            let provider = provider.build();
            start(provider.tracer("quintile"));
            (exporter, provider)
        });
        exporter.clone()
    }

    #[test]
    fn a_step_goes_on_with_each_trace_once_and_hands_its_own_spans_on() {
        let exporter = sent();
        let other = TRACE.replace("0af7", "1af7");
        let mut traces = vec![TRACE.to_owned()];
        merge(&mut traces, [TRACE.to_owned(), other.clone()]);
        assert_eq!(traces, [TRACE, other.as_str()]);
        let step = TracedStep::begin("a step", "ingestion", "default", &traces);
        let handed = step.traces();
        assert_eq!(handed.len(), 2);
        assert!(handed[0].starts_with("00-0af7651916cd43dd8448eb211c80319c-") && handed[0] != TRACE);
        step.count("records", 3);
        step.done();
        drop(TracedStep::begin("a step that fails", "ingestion", "default", &traces[..1]));
        let spans = exporter.get_finished_spans().unwrap();
        let parents = |name: &str| {
            let named = spans.iter().filter(|span| span.name == name);
            named.map(|span| (span.parent_span_id.to_string(), span.status == Status::Unset)).collect::<Vec<_>>()
        };
        let parent = "b7ad6b7169203331".to_owned();
        assert_eq!(parents("a step"), [(parent.clone(), true), (parent.clone(), true)]);
        assert_eq!(parents("a step that fails"), [(parent, false)]);
    }

    #[test]
    fn what_is_not_sampled_or_is_no_trace_goes_no_further() {
        drop(sent());
        let unsampled = format!("{}00", &TRACE[..TRACE.len() - 2]);
        for trace in [unsampled.as_str(), "", "00-0-0-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let step = TracedStep::begin("nothing", "ingestion", "default", &[trace.to_owned()]);
            assert!(step.traces().is_empty(), "{trace}");
            step.done();
        }
    }

    #[test]
    fn the_called_service_goes_on_with_the_trace_of_the_caller() {
        drop(sent());
        let method: Arc<str> = "quintile.example.v1.Example/Get".into();
        assert!(CallSpan::of_client(&method).is_none(), "nobody called");
        let told = [(TRACE_PARENT, TRACE), ("tracestate", "vendor=somebody")];
        let named = |(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers = HeaderMap::from_iter(told.map(named));
        let server = CallSpan::of_server(&headers, &method).unwrap();
        assert_eq!(server.trace_id().as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        let _guard = server.context().attach();
        let mut onward = HeaderMap::new();
        CallSpan::of_client(&method).unwrap().write_into(&mut onward);
        assert!(onward.get("tracestate").is_none_or(HeaderValue::is_empty));
        let told = onward[TRACE_PARENT].to_str().unwrap();
        assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && told.ends_with("-01") && told != TRACE);
    }
}
