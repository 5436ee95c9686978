//! What a service of the chain is given to run.

use crate::progress::{ProgressOfTenants, Watermark};
use crate::rewrapping::{self, Reporter};
use crate::vitals::Vitals;
use futures::FutureExt;
use opentelemetry::KeyValue;
use quintile_audit::{RemoteSigner, ServiceAudit};
use quintile_domain::clock::BusinessClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::master_key_service_client::MasterKeyServiceClient;
use quintile_proto::access::{KeyState, ReportKeyStateRequest};
use quintile_rpc::client::{Channel, Credentials};
use quintile_rpc::issuer_keys::RemoteIssuerKeys;
use quintile_rpc::policy::{DEFAULT_TENANT, Tenant};
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::server::{ServerError, ServiceServer, Shared, wait_for_true};
use quintile_rpc::telemetry::metrics;
use quintile_rpc::{policy_follower, server};
use quintile_store::follower::Place;
use quintile_store::keys::{self, KeyStore};
use quintile_store::sealing::{KeyEncryption, TokenSealer};
use quintile_store::{Database, DatabaseUrl, StoreError, lease};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

/// How long a worker's lease lasts without renewal.
const LEASE_TTL: Duration = Duration::from_secs(6);
/// How long a process that stops takes at most to let go of its leases.
const RELEASE: Duration = Duration::from_secs(2);
/// How often new tenants are looked for, leases renewed, and failed workers started anew.
const SUPERVISION: Duration = Duration::from_millis(500);

/// How long a report may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Channels to the services that others call.
#[derive(Clone)]
pub struct Peers {
    /// Ingestion.
    pub ingestion: Channel,
    /// Scoring.
    pub scoring: Channel,
    /// Lifecycle.
    pub lifecycle: Channel,
    /// Segmentation.
    pub segmentation: Channel,
    /// Access-control.
    pub access: Channel,
}

/// What the binary gives to a service of the chain.
pub struct ServiceContext {
    /// What the servers of the process share.
    pub shared: Shared,
    /// The service's socket.
    pub listener: TcpListener,
    /// Where its database is.
    pub database: DatabaseUrl,
    /// The master keys, or the service that keeps them.
    pub keys: Arc<dyn KeyEncryption>,
    /// Randomness.
    pub entropy: Entropy,
    /// Business time. Ingestion's is where time starts; the others' follow the watermark when frozen.
    pub business: BusinessClock,
    /// The service's own tokens.
    pub credentials: Credentials,
    /// The other services.
    pub peers: Peers,
    /// Who holds this process's leases.
    pub instance: Arc<str>,
}

/// Why a service of the chain does not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// Its database is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its server does not run.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// The running parts that handlers and workers of a service share.
#[derive(Clone)]
pub struct Runtime {
    /// The service's open database.
    pub database: Database,
    /// Its keys, and those that it keeps for tenants.
    pub keys: KeyStore,
    /// Seals its cursors and page tokens.
    pub sealer: TokenSealer,
    /// How far its answers are true.
    pub progress: ProgressOfTenants,
    /// Business time.
    pub business: BusinessClock,
    /// The policy in force.
    pub policy: PolicyHandle,
    /// How it is, for whoever scrapes it.
    pub vitals: Vitals,
    /// The service's name.
    pub service: &'static str,
    instance: Arc<str>,
    stop: watch::Receiver<bool>,
    /// Those who hold leases.
    supervisors: TaskTracker,
}

impl Runtime {
    /// The runtime of a service whose database is open. Without the master key that wrapped its keys there is none.
    pub async fn new(context: &ServiceContext, database: Database) -> Result<Self, StoreError> {
        let keys = KeyStore::new(database.clone(), context.keys.clone(), context.entropy.clone());
        let sealing = keys.of(keys::SERVICE, keys::CURSORS).await?;
        let (service, progress) = (context.credentials.service(), ProgressOfTenants::default());
        Ok(Self {
            vitals: Vitals::of(service, &progress, &context.business),
            service,
            database,
            keys,
            sealer: TokenSealer::new(sealing, context.entropy.clone()),
            progress,
            business: context.business.clone(),
            policy: PolicyHandle::new(Duration::from_secs(context.shared.settings.policy_max_age_seconds)),
            instance: context.instance.clone(),
            stop: context.shared.stop.clone(),
            supervisors: TaskTracker::new(),
        })
    }

    /// Goes on from where a worker was: time never goes back over what was computed.
    pub fn resume(&self, tenant: &Tenant, place: &Place) {
        let reached = Instant::from_micros(place.time_micros);
        if self.business.is_frozen() && self.business.now() < reached {
            tracing::warn!(%reached, "the data is further in business time than --as-of says: time stands there");
        }
        self.business.advance_to(reached);
        self.progress.of(tenant.id).raise(Watermark::from_place(place));
    }

    /// Runs `work` for every tenant, now and to come: on one replica at a time, again after a failure, until the process stops.
    pub async fn for_each_tenant<F, Fut>(self, worker: &'static str, work: F)
    where
        F: Fn(Arc<Tenant>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), WorkError>> + Send + 'static,
    {
        let work = Arc::new(work);
        let mut started = HashSet::new();
        let mut stop = self.stop.clone();
        loop {
            let tenants = self.policy.last().map(|policy| policy.tenants.clone()).unwrap_or_default();
            for tenant in tenants.into_values() {
                if started.insert(tenant.id) {
                    self.supervisors.spawn(self.clone().supervise(worker, tenant, work.clone()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(SUPERVISION) => {}
                () = wait_for_true(&mut stop) => return,
            }
        }
    }

    async fn supervise<F, Fut>(self, worker: &'static str, tenant: Arc<Tenant>, work: Arc<F>)
    where
        F: Fn(Arc<Tenant>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), WorkError>> + Send + 'static,
    {
        let name = format!("{worker}/{}", tenant.id.0);
        let mut stop = self.stop.clone();
        let failures = metrics::WORKER_FAILURES.counter();
        failures.add(0, &[KeyValue::new("worker", worker)]);
        while !*stop.borrow() {
            match lease::acquire(&self.database, &name, &self.instance, LEASE_TTL).await {
                Ok(true) => {
                    self.vitals.holds(worker, &tenant, true);
                    tokio::select! {
                        ended = AssertUnwindSafe(work(tenant.clone())).catch_unwind() => {
                            if let Err(error) = ended.unwrap_or(Err(WorkError::Panicked)) {
                                failures.add(1, &[KeyValue::new("worker", worker)]);
                                tracing::warn!(worker, tenant = tenant.name, %error, "a worker stopped; it starts again");
                            }
                        }
                        () = self.keep_lease(&name) => {
                            self.vitals.holds(worker, &tenant, false);
                            tracing::warn!(worker, tenant = tenant.name, "another replica took over");
                        }
                        () = wait_for_true(&mut stop) => {}
                    }
                }
                Ok(false) => self.vitals.holds(worker, &tenant, false),
                Err(error) => tracing::warn!(worker, tenant = tenant.name, %error, "no lease"),
            }
            tokio::select! {
                () = tokio::time::sleep(SUPERVISION) => {}
                () = wait_for_true(&mut stop) => {}
            }
        }
        // The next holder would otherwise wait for the lease to run out, which is right too, only later.
        drop(lease::release(&self.database, &name, &self.instance).await);
    }

    /// Renews a lease and ends when it is lost.
    async fn keep_lease(&self, name: &str) {
        loop {
            tokio::time::sleep(LEASE_TTL / 3).await;
            if matches!(lease::acquire(&self.database, name, &self.instance, LEASE_TTL).await, Ok(false)) {
                return;
            }
        }
    }
}

/// Why a worker stopped. It starts again from its cursor.
#[derive(Debug, Error)]
pub enum WorkError {
    /// Storage failed, or another worker was faster.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upstream ended the stream.
    #[error("upstream: {code:?}")]
    Upstream {
        /// How.
        code: tonic::Code,
    },
    /// A fault of ours; the log has its place.
    #[error("it panicked")]
    Panicked,
    /// The upstream sent what can't be read.
    #[error("upstream sent a record that does not decode")]
    Malformed,
}

impl From<tonic::Status> for WorkError {
    fn from(status: tonic::Status) -> Self {
        Self::Upstream { code: status.code() }
    }
}

impl ServiceContext {
    /// Serves a service's RPCs until the process stops, following the policy beside. `caught_up` turns true when it can answer.
    pub async fn serve(
        self,
        runtime: &Runtime,
        routes: Routes,
        mut names: Vec<&'static str>,
        caught_up: watch::Receiver<bool>,
    ) -> Result<(), ServiceError> {
        let issuer_keys = RemoteIssuerKeys { credentials: self.credentials.clone(), access: self.peers.access.clone() };
        let issuer_keys = Arc::new(issuer_keys);
        let rewrapping = tokio::spawn(rewrap(
            runtime.clone(),
            Reporter { service: self.credentials.service(), instance: self.instance },
            self.credentials.clone(),
            self.peers.access.clone(),
        ));
        let audit = ServiceAudit::open(&self.database, self.credentials.service(), self.shared.clock.clone()).await?;
        let signer = RemoteSigner { credentials: self.credentials.clone(), access: self.peers.access.clone() };
        let checkpoints = audit.checkpoint(runtime.policy.clone(), Arc::new(signer), self.shared.stop.clone());
        let follower =
            tokio::spawn(policy_follower::follow(self.credentials, self.peers.access, runtime.policy.clone()));
        let vitals = runtime.vitals.clone();
        let looking = metrics::are_told().then(|| tokio::spawn(vitals.look(runtime.database.clone())));
        let (ready_sender, ready) = watch::channel(false);
        let readiness = tokio::spawn(report_ready(runtime.policy.clone(), caught_up, ready_sender));
        let policy = runtime.policy.clone();
        let routes = routes.add_service(audit.api(runtime.sealer.clone()));
        names.push(quintile_audit::SERVICE_NAME);
        let audit_sink = audit.sink();
        let server =
            ServiceServer { listener: self.listener, policy, issuer_keys, audit: audit_sink, routes, names, ready };
        let ended = server::serve(self.shared, server).await;
        follower.abort();
        rewrapping.abort();
        readiness.abort();
        checkpoints.abort();
        looking.iter().for_each(JoinHandle::abort);
        audit.close().await?;
        // Whoever comes next need not wait for leases that nobody holds any more.
        runtime.supervisors.close();
        drop(tokio::time::timeout(RELEASE, runtime.supervisors.wait()).await);
        Ok(ended?)
    }
}

/// Keeps a service's keys under the present master key, and access-control informed.
async fn rewrap(runtime: Runtime, reporter: Reporter, credentials: Credentials, access: Channel) {
    let report = |state: KeyState| {
        let (credentials, access) = (&credentials, access.clone());
        async move {
            let request = ReportKeyStateRequest { state: Some(state) };
            let Ok(mut request) = credentials.request(DEFAULT_TENANT, request).await else { return false };
            request.set_timeout(REPORT_TIMEOUT);
            match MasterKeyServiceClient::new(access).report_key_state(request).await {
                Ok(_) => true,
                Err(status) => {
                    tracing::debug!(code = ?status.code(), "the state of the keys was not reported; trying again");
                    false
                }
            }
        }
    };
    match rewrapping::follow(runtime.keys, runtime.policy, reporter, report).await {}
}

async fn report_ready(policy: PolicyHandle, mut caught_up: watch::Receiver<bool>, ready: watch::Sender<bool>) {
    while policy.in_force().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for_true(&mut caught_up).await;
    ready.send_replace(true);
    ready.closed().await;
}
