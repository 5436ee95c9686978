//! What every call passes on its way to a handler: load shedding, authentication, authorisation, the deadline, a span.
//!
//! It wraps all services of a server at once, so a handler can't be reached around it.

use crate::caller::Caller;
use crate::policy::Policy;
use crate::server::{Shared, wait_for_true};
use crate::token::{self, Claims};
use crate::{ApiError, client};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use parking_lot::Mutex;
use quintile_domain::clock::MachineClock;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant as Deadline;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

/// Verified tokens that are remembered; beyond it, all are forgotten and verified anew.
const CACHED_TOKENS: usize = 10_000;
/// The methods that need no token. They check what they are given themselves.
const OPEN_METHODS: [&str; 2] =
    ["/quintile.access.v1.TokenService/IssueToken", "/quintile.access.v1.TokenService/GetJwks"];
const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.";

/// The policy in force; none until access-control was reached.
pub type PolicyHandle = Arc<ArcSwapOption<Policy>>;

/// The edge of a server.
#[derive(Clone)]
pub struct Edge(Arc<EdgeState>);

struct EdgeState {
    policy: PolicyHandle,
    clock: MachineClock,
    permits: Arc<Semaphore>,
    open_reflection: bool,
    stop: watch::Receiver<bool>,
    /// The paths of the methods that answer with streams.
    streams: HashSet<String>,
    verified: Mutex<VerifiedTokens>,
}

#[derive(Default)]
struct VerifiedTokens {
    policy_version: i64,
    claims: HashMap<[u8; 32], Arc<Claims>>,
}

impl Edge {
    /// An edge that decides by `policy`.
    pub fn new(policy: PolicyHandle, shared: &Shared) -> Self {
        Self(Arc::new(EdgeState {
            policy,
            clock: shared.clock.clone(),
            permits: shared.permits.clone(),
            open_reflection: shared.settings.open_reflection,
            stop: shared.stop.clone(),
            streams: streaming_paths(),
            verified: Mutex::default(),
        }))
    }
}

impl EdgeState {
    /// Who calls, if the call is allowed. `None`: it is allowed and nobody in particular calls.
    fn authorise(
        &self,
        headers: &HeaderMap,
        path: &str,
        deadline: Option<Deadline>,
    ) -> Result<Option<Caller>, ApiError> {
        let reflection = path.starts_with(REFLECTION);
        let open = OPEN_METHODS.contains(&path) || (reflection && self.open_reflection);
        if open && !headers.contains_key(client::AUTHORIZATION) {
            return Ok(None);
        }
        let policy = self.policy.load_full().ok_or_else(|| ApiError::unavailable("no policy yet"))?;
        let caller = self.caller(&policy, headers, client::AUTHORIZATION, deadline)?;
        let caller = if headers.contains_key(client::ON_BEHALF_OF) {
            let user = self.caller(&policy, headers, client::ON_BEHALF_OF, deadline)?;
            // Only a service speaks for somebody, and only within its tenant; the somebody's rights then apply.
            if caller.role_name() != "service" || caller.tenant.id != user.tenant.id {
                return Err(ApiError::unauthenticated(
                    "a token on behalf of another was sent by no service of the tenant",
                ));
            }
            user
        } else {
            caller
        };
        if open || reflection || caller.role.may_call(path) { Ok(Some(caller)) } else { Err(ApiError::method_denied()) }
    }

    fn caller(
        &self,
        policy: &Policy,
        headers: &HeaderMap,
        header: &str,
        deadline: Option<Deadline>,
    ) -> Result<Caller, ApiError> {
        let token = bearer_token(headers, header)?;
        let claims = self.verify(policy, token)?;
        let unknown = || ApiError::unauthenticated("the token names an unknown tenant or role");
        Ok(Caller {
            tenant: policy.tenants.get(&claims.tenant).cloned().ok_or_else(unknown)?,
            role: policy.role(&claims.role).cloned().ok_or_else(unknown)?,
            claims,
            token: token.into(),
            deadline,
        })
    }

    // A signature costs some 35 µs to check; expiry is checked every time.
    fn verify(&self, policy: &Policy, token: &str) -> Result<Arc<Claims>, ApiError> {
        let now = self.clock.now();
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let cached = {
            let mut verified = self.verified.lock();
            if verified.policy_version != policy.version || verified.claims.len() >= CACHED_TOKENS {
                *verified = VerifiedTokens { policy_version: policy.version, claims: HashMap::new() };
            }
            verified.claims.get(&hash).cloned()
        };
        if let Some(claims) = cached {
            token::check_time(&claims, now)?;
            return Ok(claims);
        }
        let claims = Arc::new(token::verify(token, policy, now)?);
        let mut verified = self.verified.lock();
        // The policy may have changed meanwhile: what its predecessor's keys verified is not remembered.
        if verified.policy_version == policy.version {
            verified.claims.insert(hash, claims.clone());
        }
        Ok(claims)
    }

    /// How long a stream of this caller may last: until the deadline or the token's end, whichever is first.
    fn last_moment(&self, caller: Option<&Caller>, deadline: Option<Deadline>) -> (Option<Deadline>, ApiError) {
        let expires = caller.map(|caller| {
            // The same leeway as for new calls: a stream is not worse off than they are.
            let end_seconds = caller.claims.exp.saturating_add(token::LEEWAY_SECONDS);
            let left = end_seconds.saturating_mul(1_000_000).saturating_sub(self.clock.now().micros());
            Deadline::now() + Duration::from_micros(u64::try_from(left).unwrap_or(0))
        });
        match (deadline, expires) {
            (Some(deadline), Some(expires)) if expires < deadline => {
                (Some(expires), ApiError::unauthenticated("expired"))
            }
            (Some(deadline), _) => (Some(deadline), ApiError::deadline_exceeded()),
            (None, expires) => (expires, ApiError::unauthenticated("the token expired during the stream")),
        }
    }
}

fn streaming_paths() -> HashSet<String> {
    let pool = quintile_proto::descriptor_pool();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let streaming = methods.filter(prost_reflect::MethodDescriptor::is_server_streaming);
    streaming.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

fn bearer_token<'a>(headers: &'a HeaderMap, header: &str) -> Result<&'a str, ApiError> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().ok_or_else(|| ApiError::unauthenticated("no token"))?;
    if values.next().is_some() {
        return Err(ApiError::unauthenticated("two tokens"));
    }
    let text = value.to_str().map_err(|_| ApiError::unauthenticated("the token is not ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(ApiError::unauthenticated("the scheme is not Bearer")),
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone is not ready; the one that was polled is.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let edge = self.edge.clone();
        let path = request.uri().path().to_owned();
        if path.starts_with(HEALTH) {
            return Box::pin(inner.call(request));
        }
        let span = tracing::info_span!("call", path);
        let work = async move {
            let Ok(_permit) = edge.permits.clone().try_acquire_owned() else {
                return Ok(refuse(ApiError::overloaded("the service works on as much as it can")));
            };
            let admitted = deadline(request.headers())
                .and_then(|deadline| Ok((edge.authorise(request.headers(), &path, deadline)?, deadline)));
            let (caller, deadline) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => return Ok(refuse(error)),
            };
            let (last_moment, why) = edge.last_moment(caller.as_ref(), deadline);
            if let Some(caller) = caller {
                tracing::debug!(role = caller.role_name(), tenant = caller.tenant.name, "admitted");
                request.extensions_mut().insert(caller);
            }
            // One answer ends by itself; it may still go out while the process drains.
            let streams = path.starts_with(REFLECTION) || edge.streams.contains(&path);
            let end = streams.then(|| Ending { last_moment, why, stop: edge.stop.clone() });
            run(inner.call(request), deadline, end).await
        };
        Box::pin(work.instrument(span))
    }
}

async fn run<E>(
    call: impl Future<Output = Result<Response<Body>, E>>,
    deadline: Option<Deadline>,
    end: Option<Ending>,
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
    let response = match caught {
        Ok(response) => response?,
        Err(_) => return Ok(refuse(ApiError::internal("a handler panicked"))),
    };
    Ok(match end {
        Some(end) => response.map(|body| Body::new(EndingBody { inner: body, end: Some(Box::pin(end.comes())) })),
        None => response,
    })
}

fn refuse(error: ApiError) -> Response<Body> {
    Status::from(error).into_http()
}

/// What ends an answer that goes on: its last moment, or the process's.
struct Ending {
    last_moment: Option<Deadline>,
    why: ApiError,
    stop: watch::Receiver<bool>,
}

impl Ending {
    /// Ends with why the answer ends.
    async fn comes(mut self) -> ApiError {
        let last_moment = async {
            match self.last_moment {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = last_moment => self.why,
            () = wait_for_true(&mut self.stop) => ApiError::unavailable("the process is stopping"),
        }
    }
}

/// A body that ends with a status when its end comes before it has ended by itself.
struct EndingBody {
    inner: Body,
    // `None`: it has come.
    end: Option<BoxFuture<'static, ApiError>>,
}

impl http_body::Body for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(mut end) = self.end.take() else {
            return Poll::Ready(None);
        };
        // First the end: a stream that always has more to say would outlive its token.
        let Poll::Ready(why) = end.as_mut().poll(context) else {
            self.end = Some(end);
            return Pin::new(&mut self.inner).poll_frame(context);
        };
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(match Status::from(why).add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.inner.is_end_stream()
    }
}
