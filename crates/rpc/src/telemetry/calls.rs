//! One call, measured from either side: its span, and how long it took.

use super::metrics;
use super::traces::CallSpan;
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::{Context, KeyValue, Value};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task;
use std::task::Poll;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};

/// Who measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// A call in work. Dropped before it has ended, it was cancelled.
pub(crate) struct Call {
    side: Side,
    method: Arc<str>,
    began: Instant,
    span: Option<CallSpan>,
    ended: bool,
}

impl Call {
    /// One that came with these headers.
    pub(crate) fn of_server(method: Arc<str>, headers: &HeaderMap) -> Self {
        let span = CallSpan::of_server(headers, &method);
        Self { side: Side::Server, method, began: Instant::now(), span, ended: false }
    }

    /// One that is about to be made with these headers.
    pub(crate) fn of_client(method: Arc<str>, headers: &mut HeaderMap) -> Self {
        let span = CallSpan::of_client(&method);
        if let Some(span) = &span {
            span.write_into(headers);
        }
        Self { side: Side::Client, method, began: Instant::now(), span, ended: false }
    }

    /// The context that what belongs to the call runs in.
    pub(crate) fn context(&self) -> Context {
        self.span.as_ref().map(CallSpan::context).unwrap_or_default()
    }

    /// The trace's id, if it is sampled.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.span.as_ref().and_then(CallSpan::trace_id)
    }

    /// Ends it with its status.
    pub(crate) fn end(mut self, code: Code) {
        self.note(code);
    }

    /// Ends it with an answer, or with the end of what the answer goes on with.
    pub(crate) fn end_with(self, response: Response<Body>) -> Response<Body> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.end(status.code());
            return response;
        }
        response.map(|inner| Body::new(MeasuredBody { inner, call: Some(self) }))
    }

    fn note(&mut self, code: Code) {
        static SERVER: LazyLock<Histogram<f64>> = LazyLock::new(|| metrics::SERVER_CALL_DURATION.histogram());
        static CLIENT: LazyLock<Histogram<f64>> = LazyLock::new(|| metrics::CLIENT_CALL_DURATION.histogram());
        self.ended = true;
        let name = code_name(code);
        let is_error = match self.side {
            Side::Server => is_fault_of_the_server(code),
            Side::Client => code != Code::Ok,
        };
        let mut attributes = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", Value::from(self.method.clone())),
            KeyValue::new("rpc.response.status_code", name),
        ];
        if is_error {
            attributes.push(KeyValue::new("error.type", name));
        }
        let histogram = if self.side == Side::Server { &SERVER } else { &CLIENT };
        histogram.record(self.began.elapsed().as_secs_f64(), &attributes);
        if let Some(span) = self.span.take() {
            span.end(code, name, is_error);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.note(Code::Cancelled);
        }
    }
}

/// Whether the conventions count a status as an error of the server: the others are the caller's.
fn is_fault_of_the_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// The code's name as the contracts write it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What an answer goes on with, until its status comes.
struct MeasuredBody {
    inner: Body,
    // `None`: the call has ended.
    call: Option<Call>,
}

impl MeasuredBody {
    fn end(&mut self, code: Code) {
        if let Some(call) = self.call.take() {
            call.end(code);
        }
    }
}

impl http_body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.end(status.code());
                }
            }
            Poll::Ready(Some(Err(status))) => self.end(status.code()),
            // It ended without saying how.
            Poll::Ready(None) => self.end(Code::Unknown),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
