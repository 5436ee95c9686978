//! What every call passes on its way to a handler: load shedding, authentication, authorisation, the audit log, the deadline, a span.
//!
//! It wraps all services of a server at once, so a handler can't be reached around it.

mod admission;
mod auditing;
mod ending;
mod issuers;

use crate::ApiError;
use crate::audit::AuditSink;
use crate::caller::Caller;
use crate::issuer_keys::IssuerKeys;
use crate::policy_handle::PolicyHandle;
use crate::server::Shared;
use crate::telemetry::calls::Call;
use crate::telemetry::metrics;
use crate::trail::Trail;
use admission::{Gate, REFLECTION, Refusal};
use auditing::{Auditor, MethodTraits};
use ending::{Ending, EndingBody};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use issuers::NewKeys;
use opentelemetry::metrics::Counter;
use opentelemetry::trace::FutureExt as _;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant as Deadline;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

const HEALTH: &str = "/grpc.health.v1.Health/";
/// What metrics and traces call a method that no contract has: whoever calls must not make up their series.
const OTHER: &str = "_OTHER";

/// The edge of a server.
#[derive(Clone)]
pub struct Edge(Arc<EdgeState>);

struct EdgeState {
    gate: Arc<Gate>,
    auditor: Auditor,
    new_keys: NewKeys,
    permits: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    /// What metrics and traces call methods, by path.
    methods: HashMap<String, Arc<str>>,
    shed: Counter<u64>,
}

impl Edge {
    /// An edge that decides by `policy`, writes into `audit`, and has `issuer_keys` look where a token names an unknown key.
    pub fn new(
        policy: PolicyHandle,
        shared: &Shared,
        audit: Arc<dyn AuditSink>,
        issuer_keys: Arc<dyn IssuerKeys>,
    ) -> Self {
        let auditor = Auditor::new(audit);
        let shed = metrics::CALLS_SHED.counter();
        // Known before the first is shed: an increase from nothing to one would be none.
        shed.add(0, &[]);
        Self(Arc::new(EdgeState {
            methods: auditor.paths().map(|path| (path.to_owned(), path.trim_start_matches('/').into())).collect(),
            shed,
            new_keys: NewKeys::new(issuer_keys, policy.clone()),
            gate: Arc::new(Gate::new(policy, shared.clock.clone(), shared.settings.open_reflection)),
            auditor,
            permits: shared.permits.clone(),
            stop: shared.stop.clone(),
        }))
    }
}

/// The deadline that `grpc-timeout` asks for. Ours passes a little before the transport's own, which would answer CANCELLED.
fn deadline(headers: &HeaderMap) -> Result<Option<Deadline>, ApiError> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let malformed = || ApiError::invalid_field("grpc-timeout", "must be up to 8 digits and one of H M S m u n");
    let text = value.to_str().map_err(|_| malformed())?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount: u64 = digits.parse().map_err(|_| malformed())?;
    if digits.len() > 8 {
        return Err(malformed());
    }
    let timeout = match &text[digits.len()..] {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(malformed()),
    };
    let margin = (timeout / 10).min(Duration::from_millis(5));
    Ok(Some(Deadline::now() + timeout.saturating_sub(margin)))
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    fn layer(&self, inner: S) -> EdgeService<S> {
        EdgeService { inner, edge: self.0.clone() }
    }
}

/// A server's services behind their edge.
#[derive(Clone)]
pub struct EdgeService<S> {
    inner: S,
    edge: Arc<EdgeState>,
}

impl<S> Service<Request<Body>> for EdgeService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;
    type Response = Response<Body>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone is not ready; the one that was polled is.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let edge = self.edge.clone();
        let path = request.uri().path().to_owned();
        if path.starts_with(HEALTH) {
            return Box::pin(inner.call(request));
        }
        let call = edge.measure(&path, request.headers());
        let span = tracing::info_span!("call", path, trace_id = call.trace_id());
        let context = call.context();
        let work = async move {
            let Ok(_permit) = edge.permits.clone().try_acquire_owned() else {
                edge.shed.add(1, &[]);
                return Ok(call.end_with(refuse(ApiError::overloaded("the service works on as much as it can"))));
            };
            let response = match edge.admit(request.headers(), &path).await {
                Ok(admitted) => edge.serve(inner, request, path, admitted).await?,
                Err(error) => refuse(error),
            };
            Ok(call.end_with(response))
        };
        Box::pin(work.instrument(span).with_context(context))
    }
}

/// A call that was let through.
struct Admitted {
    caller: Option<Caller>,
    deadline: Option<Deadline>,
    traits: MethodTraits,
    trail: Trail,
}

impl EdgeState {
    /// Begins to measure a call.
    fn measure(&self, path: &str, headers: &HeaderMap) -> Call {
        let method = self.methods.get(path).cloned().unwrap_or_else(|| OTHER.into());
        Call::of_server(method, headers)
    }

    async fn admit(&self, headers: &HeaderMap, path: &str) -> Result<Admitted, ApiError> {
        let deadline = deadline(headers)?;
        let trail = Trail::default();
        let mut admitted = self.gate.admit(headers, path, deadline, &trail);
        if let Err(refusal) = &admitted
            && let Some((issuer, tenant)) = &refusal.unknown_key_of
            && self.new_keys.come(issuer, tenant).await
        {
            admitted = self.gate.admit(headers, path, deadline, &trail);
        }
        let caller = match admitted {
            Ok(caller) => caller,
            Err(refusal) => {
                let Refusal { error, caller, .. } = *refusal;
                if let Some(caller) = caller {
                    self.auditor.denied(&caller, path).await;
                }
                return Err(error);
            }
        };
        if let Some(caller) = &caller {
            tracing::debug!(role = caller.role_name(), tenant = caller.tenant().name, "admitted");
        }
        let traits = self.auditor.traits(path);
        self.auditor.before(caller.as_ref(), path, &traits).await?;
        Ok(Admitted { caller, deadline, traits, trail })
    }

    async fn serve<S>(
        &self,
        mut inner: S,
        mut request: Request<Body>,
        path: String,
        admitted: Admitted,
    ) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<Body>, Response = Response<Body>>,
    {
        let Admitted { caller, deadline, traits, trail } = admitted;
        request.extensions_mut().insert(trail.clone());
        if let Some(caller) = caller.clone() {
            request.extensions_mut().insert(caller);
        }
        let response = run(inner.call(request), deadline).await?;
        if let Err(error) = self.auditor.after(caller.as_ref(), &path, &traits, &trail, response.headers()).await {
            return Ok(refuse(error));
        }
        // One answer ends by itself; it may still go out while the process drains.
        if !traits.streams && !path.starts_with(REFLECTION) {
            return Ok(response);
        }
        let end = Ending { gate: self.gate.clone(), caller, path, deadline, stop: self.stop.clone() };
        Ok(response.map(|body| Body::new(EndingBody::new(body, end))))
    }
}

async fn run<E>(
    call: impl Future<Output = Result<Response<Body>, E>>,
    deadline: Option<Deadline>,
) -> Result<Response<Body>, E> {
    if deadline.is_some_and(|deadline| deadline <= Deadline::now()) {
        return Ok(refuse(ApiError::deadline_exceeded()));
    }
    // A handler that panics fails its own call and nothing else.
    let call = AssertUnwindSafe(call).catch_unwind();
    let caught = match deadline {
        Some(deadline) => match tokio::time::timeout_at(deadline, call).await {
            Ok(caught) => caught,
            Err(_) => return Ok(refuse(ApiError::deadline_exceeded())),
        },
        None => call.await,
    };
    match caught {
        Ok(response) => response,
        Err(_) => Ok(refuse(ApiError::internal("a handler panicked"))),
    }
}

fn refuse(error: ApiError) -> Response<Body> {
    Status::from(error).into_http()
}
