//! The edge and those it knows: what it writes into the audit log and when, how it ends streams, and how seldom it asks for keys.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as _;
use parking_lot::Mutex;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::{CustomerId, TenantId};
use quintile_domain::time::Instant;
use quintile_proto::access::revocation::Target;
use quintile_proto::access::{
    FieldForm, Issuer, Jwk, Jwks, MaskForm, PolicySnapshot, Revocation, RoleMapping, RolePolicy, Tenant,
};
use quintile_proto::audit::{AuditEvent, AuditKind};
use quintile_proto::ingestion::Customer;
use quintile_proto::types::{CustomerAttributes, Sensitivity};
use quintile_rpc::audit::AuditSink;
use quintile_rpc::edge::{Edge, EdgeService};
use quintile_rpc::issuer_keys::IssuerKeys;
use quintile_rpc::policy::Policy;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::server::Shared;
use quintile_rpc::settings::ServerSettings;
use quintile_rpc::{ApiError, Caller};
use serde_json::json;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};

const NOW: i64 = 1_709_208_000;
const GET: &str = "quintile.ingestion.v1.CustomerService/GetCustomer";
const PUBLISH: &str = "quintile.access.v1.PolicyService/PublishPolicy";
const WATCH: &str = "quintile.segmentation.v1.SegmentService/WatchMemberships";
const FEED: &str = "quintile.ingestion.v1.FeatureService/WatchFeatures";

/// A log in memory, which fails when it is told to.
#[derive(Default)]
struct Log {
    events: Mutex<Vec<AuditEvent>>,
    full: AtomicBool,
}

impl AuditSink for Log {
    fn record(&self, _tenant: TenantId, event: AuditEvent) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            if self.full.load(Ordering::Relaxed) {
                return Err(ApiError::unavailable("the disk is full"));
            }
            self.events.lock().push(event);
            Ok(())
        })
    }
}

/// Counts how often it is asked.
#[derive(Default)]
struct Asked(AtomicUsize);

impl IssuerKeys for Asked {
    fn look<'a>(&'a self, _issuer: &'a str, _tenant: &'a str) -> BoxFuture<'a, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

struct World {
    policy: PolicyHandle,
    log: Arc<Log>,
    asked: Arc<Asked>,
    reached: Arc<AtomicUsize>,
    edge: Edge,
    // Dropped, it would say that the process stops.
    _stop: watch::Sender<bool>,
}

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn role(name: &str, methods: &[&str]) -> RolePolicy {
    let forms = [(Sensitivity::Name, MaskForm::Clear), (Sensitivity::Phone, MaskForm::Partial)];
    let forms =
        forms.map(|(class, form)| FieldForm { sensitivity: class.into(), form: form.into(), ..FieldForm::default() });
    let methods = methods.iter().map(|method| (*method).to_owned()).collect();
    RolePolicy { role: name.to_owned(), methods, forms: forms.into(), ..RolePolicy::default() }
}

fn snapshot(version: i64) -> PolicySnapshot {
    let x = URL_SAFE_NO_PAD.encode(key().public_key());
    let jwk = |kid: &str| Jwk {
        kid: kid.to_owned(),
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        x: x.clone(),
        ..Jwk::default()
    };
    PolicySnapshot {
        version,
        roles: vec![role("care", &[GET, PUBLISH, WATCH, FEED])],
        tenants: vec![Tenant {
            name: "tenants/default".to_owned(),
            number: 1,
            time_zone: "UTC".to_owned(),
            base_currency: "USD".to_owned(),
            ..Tenant::default()
        }],
        jwks: Some(Jwks { keys: vec![jwk("own")], issuer: "quintile".to_owned() }),
        issuers: vec![Issuer {
            name: "issuers/okta".to_owned(),
            issuer: "https://okta.example".to_owned(),
            algorithms: vec!["EdDSA".to_owned()],
            tenant: "tenants/default".to_owned(),
            roles: vec![RoleMapping { value: "care".to_owned(), role: "care".to_owned() }],
            keys: vec![jwk("known")],
            fetch_time: Some(prost_types::Timestamp { seconds: NOW, nanos: 0 }),
            ..Issuer::default()
        }],
        ..PolicySnapshot::default()
    }
}

fn token(kid: &str, issuer: &str) -> String {
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}));
    let claims = part(json!({
        "iss": issuer, "aud": "quintile", "sub": "ann", "iat": NOW, "nbf": NOW, "exp": NOW + 3_600, "jti": "token-1",
        "tenant": "default", "role": "care", "roles": ["care"],
    }));
    let signature = URL_SAFE_NO_PAD.encode(key().sign(format!("{header}.{claims}").as_bytes()));
    format!("{header}.{claims}.{signature}")
}

impl World {
    fn new() -> Self {
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            settings: ServerSettings::default(),
            clock: MachineClock::new(Arc::new(|| Instant::from_micros(NOW * 1_000_000))),
            permits: Arc::new(Semaphore::new(1_000)),
            stop: stopping,
        };
        let policy = PolicyHandle::new(Duration::from_mins(1));
        let (log, asked) = (Arc::<Log>::default(), Arc::<Asked>::default());
        let edge = Edge::new(policy.clone(), &shared, log.clone(), asked.clone());
        let world = Self { policy, log, asked, reached: Arc::default(), edge, _stop: stop };
        world.publish(&snapshot(1));
        world
    }

    fn publish(&self, snapshot: &PolicySnapshot) {
        self.policy.replace(Arc::new(Policy::from_snapshot(snapshot).unwrap()));
    }

    /// Calls a handler that answers with a customer, or goes on for ever where the method streams.
    async fn call(&self, method: &str, token: &str) -> Response<Body> {
        let (reached, log) = (self.reached.clone(), self.log.clone());
        let handler = service_fn(move |request: Request<Body>| {
            let (reached, log) = (reached.clone(), log.clone());
            async move {
                reached.fetch_add(1, Ordering::Relaxed);
                assert!(log.events.lock().iter().all(|event| event.kind() != AuditKind::Read), "nothing is read yet");
                let caller = request.extensions().get::<Caller>().unwrap();
                let view = caller.view_of(CustomerId(42), &CustomerAttributes::default()).unwrap();
                let customer = Customer {
                    name: "customers/42".to_owned(),
                    display_name: Some("Ann Lee".to_owned()),
                    phone: Some("+8613812341234".to_owned()),
                    email: Some("ann.lee@example.cn".to_owned()),
                    ..Customer::default()
                };
                let masked = view.mask(customer);
                assert_eq!(masked.as_message().email.as_deref(), Some("****"));
                let streams = request.uri().path().contains("Watch");
                Ok::<_, Infallible>(Response::new(if streams { endless() } else { Body::empty() }))
            }
        });
        let mut service: EdgeService<_> = self.edge.layer(BoxCloneSyncService::new(handler));
        let request = Request::builder().uri(format!("/{method}")).header("authorization", format!("Bearer {token}"));
        service.ready().await.unwrap().call(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn kinds(&self) -> Vec<AuditKind> {
        self.log.events.lock().iter().map(AuditEvent::kind).collect()
    }
}

/// A body that never says anything and never ends.
fn endless() -> Body {
    struct Endless;
    impl http_body::Body for Endless {
        type Data = bytes::Bytes;
        type Error = Status;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Status>>> {
            std::task::Poll::Pending
        }
    }
    Body::new(Endless)
}

fn code(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

/// The status that a stream ends with.
async fn ended(response: Response<Body>) -> Code {
    let mut body = pin!(response.into_body());
    let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
    let frame = tokio::time::timeout(Duration::from_mins(5), frame).await.unwrap().unwrap().unwrap();
    Status::from_header_map(frame.trailers_ref().unwrap()).unwrap().code()
}

#[tokio::test]
async fn a_sensitive_read_is_written_with_who_and_whose_and_without_what_was_hidden() {
    let world = World::new();
    assert_eq!(code(&world.call(GET, &token("own", "quintile")).await), Code::Ok);
    let events = world.log.events.lock().clone();
    let [event] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((event.kind(), event.subject.as_str(), event.role.as_str()), (AuditKind::Read, "ann", "care"));
    assert_eq!((event.method.as_str(), event.token_id.as_str(), event.outcome.as_str()), (GET, "token-1", "OK"));
    assert_eq!(event.classes, [Sensitivity::Name as i32, Sensitivity::Phone as i32], "the e-mail was hidden");
    assert_eq!(event.customer_ids, [42]);
}

#[tokio::test]
async fn a_read_that_is_not_written_is_not_answered_and_a_change_is_not_made() {
    let world = World::new();
    world.log.full.store(true, Ordering::Relaxed);
    assert_eq!(code(&world.call(PUBLISH, &token("own", "quintile")).await), Code::Unavailable);
    assert_eq!(world.reached.load(Ordering::Relaxed), 0, "the change was not made");
    assert_eq!(code(&world.call(GET, &token("own", "quintile")).await), Code::Unavailable);
    assert_eq!(world.reached.load(Ordering::Relaxed), 1, "it was read, and not told");
}

#[tokio::test]
async fn a_change_is_written_before_it_is_made_and_when_it_has_ended() {
    let world = World::new();
    world.call(PUBLISH, &token("own", "quintile")).await;
    assert_eq!(world.kinds()[..2], [AuditKind::ChangeAsked, AuditKind::ChangeEnded]);
    assert_eq!(world.log.events.lock()[1].outcome, "OK");
}

#[tokio::test]
async fn a_denial_and_the_opening_of_a_stream_that_shows_something_are_written() {
    let world = World::new();
    let mut narrower = snapshot(2);
    narrower.roles = vec![role("care", &[FEED])];
    narrower.roles[0].forms.push(FieldForm {
        sensitivity: Sensitivity::Financial.into(),
        form: MaskForm::Clear.into(),
        ..FieldForm::default()
    });
    world.publish(&narrower);
    assert_eq!(code(&world.call(GET, &token("own", "quintile")).await), Code::PermissionDenied);
    world.call(FEED, &token("own", "quintile")).await;
    assert_eq!(world.kinds(), [AuditKind::Denied, AuditKind::StreamOpened]);
    assert_eq!(world.log.events.lock()[1].classes, [Sensitivity::Financial as i32]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_caller_would_not_be_let_through_any_more() {
    let without_method = PolicySnapshot { roles: vec![role("care", &[GET])], ..snapshot(2) };
    let without_role = PolicySnapshot { roles: Vec::new(), ..snapshot(2) };
    let revoked = PolicySnapshot {
        revocations: vec![Revocation {
            tenant: "tenants/default".to_owned(),
            target: Some(Target::TokenId("token-1".to_owned())),
            expire_time: Some(prost_types::Timestamp { seconds: NOW + 100_000, nanos: 0 }),
            revoke_time: Some(prost_types::Timestamp { seconds: NOW, nanos: 0 }),
            ..Revocation::default()
        }],
        ..snapshot(2)
    };
    for (change, expected) in [
        (without_method, Code::PermissionDenied),
        (without_role, Code::PermissionDenied),
        (revoked, Code::Unauthenticated),
    ] {
        let world = World::new();
        let stream = world.call(WATCH, &token("own", "quintile")).await;
        world.publish(&change);
        assert_eq!(ended(stream).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hears_nothing_of_access_control_ends_streams_and_refuses_calls() {
    let world = World::new();
    let stream = world.call(WATCH, &token("own", "quintile")).await;
    assert_eq!(ended(stream).await, Code::Unavailable);
    assert_eq!(code(&world.call(GET, &token("own", "quintile")).await), Code::Unavailable);
    assert!(world.policy.confirm(1));
    assert_eq!(code(&world.call(GET, &token("own", "quintile")).await), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_asks_for_new_ones_once_a_minute() {
    let world = World::new();
    assert_eq!(code(&world.call(GET, &token("known", "https://okta.example")).await), Code::Ok);
    for number in 0..200 {
        let refused = world.call(GET, &token(&format!("made-up-{number}"), "https://okta.example")).await;
        assert_eq!(code(&refused), Code::Unauthenticated);
    }
    assert_eq!(world.asked.0.load(Ordering::Relaxed), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    world.policy.confirm(1);
    world.call(GET, &token("made-up", "https://okta.example")).await;
    assert_eq!(world.asked.0.load(Ordering::Relaxed), 2);
    world.call(GET, &token("made-up", "quintile")).await;
    assert_eq!(world.asked.0.load(Ordering::Relaxed), 2, "our own keys are published before they sign");
}
