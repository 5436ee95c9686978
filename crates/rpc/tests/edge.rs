//! The edge from outside: what it lets through to a service, and how it refuses.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use futures::future::BoxFuture;
use http::{Request, Response};
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::audit::AuditEvent;
use quintile_rpc::ApiError;
use quintile_rpc::audit::AuditSink;
use quintile_rpc::edge::Edge;
use quintile_rpc::issuer_keys::IssuerKeys;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::server::Shared;
use quintile_rpc::settings::ServerSettings;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, ServiceExt, service_fn};

const OPEN: &str = "/quintile.access.v1.TokenService/GetJwks";
const CLOSED: &str = "/quintile.access.v1.PolicyService/GetPolicy";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A log that nobody reads.
struct Unread;

impl AuditSink for Unread {
    fn record(&self, _tenant: TenantId, _event: AuditEvent) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }
}

/// No issuer has new keys.
struct NoIssuers;

impl IssuerKeys for NoIssuers {
    fn look<'a>(&'a self, _issuer: &'a str, _tenant: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// An edge with so many permits and no policy, in front of a service that counts its calls.
struct Behind {
    edge: Edge,
    reached: Arc<AtomicUsize>,
}

impl Behind {
    fn with_permits(permits: usize) -> Self {
        let shared = Shared {
            settings: ServerSettings::default(),
            clock: MachineClock::new(Arc::new(|| Instant::from_micros(0))),
            permits: Arc::new(Semaphore::new(permits)),
            stop: watch::channel(false).1,
        };
        Self {
            edge: Edge::new(PolicyHandle::new(Duration::from_mins(1)), &shared, Arc::new(Unread), Arc::new(NoIssuers)),
            reached: Arc::default(),
        }
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)]) -> Option<Status> {
        let reached = self.reached.clone();
        let service = service_fn(move |_: Request<Body>| {
            let reached = reached.clone();
            async move {
                reached.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_hours(1)).await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let call = self.edge.layer(service).oneshot(request.body(Body::empty()).unwrap());
        let response = tokio::time::timeout(Duration::from_secs(5), call).await.ok()?.unwrap();
        Status::from_header_map(response.headers())
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_are_shed_with_a_hint_and_health_still_answers() {
    let behind = Behind::with_permits(0);
    let status = behind.call(OPEN, &[]).await.unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(status.get_details_error_info().unwrap().reason, "OVERLOADED");
    assert_eq!(behind.reached(), 0);
    behind.call(HEALTH, &[]).await;
    assert_eq!(behind.reached(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_when_its_call_ends() {
    let behind = Behind::with_permits(1);
    for _ in 0..3 {
        let status = behind.call(OPEN, &[("grpc-timeout", "10m")]).await.unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
    assert_eq!(behind.reached(), 3);
}

#[tokio::test(start_paused = true)]
async fn expired_work_never_reaches_a_handler() {
    let behind = Behind::with_permits(1);
    let status = behind.call(OPEN, &[("grpc-timeout", "0n")]).await.unwrap();
    assert_eq!((status.code(), behind.reached()), (Code::DeadlineExceeded, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_none_is_refused() {
    let behind = Behind::with_permits(1);
    for wrong in ["", "m", "1", "1x", "-1S", "123456789S", "1 S", "1.5S"] {
        let status = behind.call(OPEN, &[("grpc-timeout", wrong)]).await.unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{wrong:?}");
    }
    assert_eq!(behind.reached(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_nothing_but_the_open_methods_is_let_through() {
    let behind = Behind::with_permits(8);
    let status = behind.call(CLOSED, &[("authorization", "Bearer x")]).await.unwrap();
    assert_eq!((status.code(), behind.reached()), (Code::Unavailable, 0));
    assert!(behind.call(OPEN, &[]).await.is_none(), "it runs until it is given up");
    assert_eq!(behind.reached(), 1);
}
