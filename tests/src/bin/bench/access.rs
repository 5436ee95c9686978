//! What a service decides by, made in the process: the seeded roles, a tenant, a key of its own, and an edge whose audit log answers at
//! once.

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::HeaderValue;
use jsonwebtoken::EncodingKey;
use quintile_domain::clock::MachineClock;
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_proto::access::{Jwk, Jwks, PolicySnapshot, Tenant};
use quintile_proto::audit::AuditEvent;
use quintile_proto::types::Purpose;
use quintile_rpc::ApiError;
use quintile_rpc::audit::AuditSink;
use quintile_rpc::edge::Edge;
use quintile_rpc::issuer_keys::IssuerKeys;
use quintile_rpc::policy::Policy;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::role::Rights;
use quintile_rpc::scope::CallerAttributes;
use quintile_rpc::server::Shared;
use quintile_rpc::settings::ServerSettings;
use quintile_rpc::token::{self, AUDIENCE, Claims, MAX_LIFETIME_SECONDS};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Who calls.
pub const SUBJECT: &str = "ann";
const TENANT: &str = "default";
const ISSUER: &str = "https://access.bench";
const KEY_ID: &str = "bench";
const SEED: [u8; 32] = [7; 32];
/// When the process begins, by its own clock.
const BEGINNING_SECONDS: i64 = 1_767_225_600;
/// Longer than anything here is measured.
const POLICY_AGE: Duration = Duration::from_hours(24);

/// The access path of a service.
pub struct Access {
    policy: Arc<Policy>,
    /// What calls pass before they reach a handler.
    pub edge: Edge,
    key: EncodingKey,
}

impl Access {
    /// An access path by the seeded roles.
    pub fn new() -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED)?;
        let key = EncodingKey::from_ed_der(pair.to_pkcs8v1()?.as_ref());
        let policy = Arc::new(Policy::from_snapshot(&snapshot(&pair))?);
        let handle = PolicyHandle::new(POLICY_AGE);
        handle.replace(policy.clone());
        let edge = Edge::new(handle, &shared(), Arc::new(AtOnce), Arc::new(NoIssuers));
        Ok(Self { policy, edge, key })
    }

    /// The header of a token of a role.
    pub fn authorization(&self, role: &str) -> anyhow::Result<HeaderValue> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: SUBJECT.to_owned(),
            iat: BEGINNING_SECONDS,
            nbf: BEGINNING_SECONDS,
            exp: BEGINNING_SECONDS + MAX_LIFETIME_SECONDS,
            jti: "7".to_owned(),
            tenant: TENANT.to_owned(),
            role: role.to_owned(),
            department: String::new(),
            region: String::new(),
        };
        let token = token::sign(&claims, KEY_ID, &self.key).ok().context("no token")?;
        Ok(format!("Bearer {token}").parse()?)
    }

    /// What the caller may see in a role.
    pub fn rights(&self, role: &str) -> anyhow::Result<Rights> {
        let role = self.policy.role(TENANT, role).context("the role is not seeded")?;
        let caller = CallerAttributes { subject: SUBJECT, ..CallerAttributes::default() };
        Ok(role.rights(&caller, Purpose::Unspecified, None))
    }
}

fn snapshot(pair: &Ed25519KeyPair) -> PolicySnapshot {
    let key = Jwk {
        kid: KEY_ID.to_owned(),
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        x: URL_SAFE_NO_PAD.encode(pair.public_key()),
        ..Jwk::default()
    };
    let tenant = Tenant {
        name: format!("tenants/{TENANT}"),
        number: 1,
        time_zone: "UTC".to_owned(),
        base_currency: "USD".to_owned(),
        ..Tenant::default()
    };
    PolicySnapshot {
        version: 1,
        jwks: Some(Jwks { issuer: ISSUER.to_owned(), keys: vec![key] }),
        tenants: vec![tenant],
        roles: quintile_access_control::seeded_roles(),
        ..PolicySnapshot::default()
    }
}

fn shared() -> Shared {
    let settings = ServerSettings::default();
    let begun = std::time::Instant::now();
    // It costs what the machine's own costs to read, and makes every run issue the same tokens.
    let now = move || Instant::from_micros(BEGINNING_SECONDS * 1_000_000 + begun.elapsed().as_micros() as i64);
    Shared {
        permits: Arc::new(Semaphore::new(settings.max_concurrent_calls)),
        settings,
        clock: MachineClock::new(Arc::new(now)),
        stop: watch::channel(false).1,
    }
}

/// A log that keeps nothing.
struct AtOnce;

impl AuditSink for AtOnce {
    fn record(&self, _tenant: TenantId, event: AuditEvent) -> BoxFuture<'_, Result<(), ApiError>> {
        black_box(event);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// All tokens are ours.
struct NoIssuers;

impl IssuerKeys for NoIssuers {
    fn look<'a>(&'a self, _issuer: &'a str, _tenant: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
