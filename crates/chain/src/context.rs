//! What a service of the chain is given to run.

use crate::progress::{ProgressOfTenants, Watermark};
use futures::FutureExt;
use quintile_domain::clock::BusinessClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_rpc::client::Credentials;
use quintile_rpc::policy::Tenant;
use quintile_rpc::policy_handle::PolicyHandle;
use quintile_rpc::server::{ServerError, ServiceServer, Shared, wait_for_true};
use quintile_rpc::{policy_follower, server};
use quintile_store::follower::Place;
use quintile_store::sealing::{Key, TokenSealer};
use quintile_store::{Database, DatabaseUrl, StoreError, lease};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Channel;

/// How long a worker's lease lasts without renewal.
const LEASE_TTL: Duration = Duration::from_secs(6);
/// How often new tenants are looked for, leases renewed, and failed workers started anew.
const SUPERVISION: Duration = Duration::from_millis(500);

/// Channels to the services that others call.
#[derive(Clone)]
pub struct Peers {
    /// Ingestion.
    pub ingestion: Channel,
    /// Scoring.
    pub scoring: Channel,
    /// Lifecycle.
    pub lifecycle: Channel,
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
    /// The master key.
    pub master: Key,
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
    /// Seals its cursors and page tokens.
    pub sealer: TokenSealer,
    /// How far its answers are true.
    pub progress: ProgressOfTenants,
    /// Business time.
    pub business: BusinessClock,
    /// The policy in force.
    pub policy: PolicyHandle,
    instance: Arc<str>,
    stop: watch::Receiver<bool>,
}

impl Runtime {
    /// The runtime of a service whose database is open.
    pub fn new(context: &ServiceContext, database: Database) -> Self {
        Self {
            database,
            sealer: TokenSealer::new(&context.master, context.entropy.clone()),
            progress: ProgressOfTenants::default(),
            business: context.business.clone(),
            policy: PolicyHandle::new(Duration::from_secs(context.shared.settings.policy_max_age_seconds)),
            instance: context.instance.clone(),
            stop: context.shared.stop.clone(),
        }
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
                    tokio::spawn(self.clone().supervise(worker, tenant, work.clone()));
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
        while !*stop.borrow() {
            match lease::acquire(&self.database, &name, &self.instance, LEASE_TTL).await {
                Ok(true) => {
                    tokio::select! {
                        ended = AssertUnwindSafe(work(tenant.clone())).catch_unwind() => {
                            if let Err(error) = ended.unwrap_or(Err(WorkError::Panicked)) {
                                tracing::warn!(worker, tenant = tenant.name, %error, "a worker stopped; it starts again");
                            }
                        }
                        () = self.keep_lease(&name) => tracing::warn!(worker, tenant = tenant.name, "another replica took over"),
                        () = wait_for_true(&mut stop) => {}
                    }
                }
                Ok(false) => {}
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
        names: Vec<&'static str>,
        caught_up: watch::Receiver<bool>,
    ) -> Result<(), ServiceError> {
        let follower =
            tokio::spawn(policy_follower::follow(self.credentials, self.peers.access, runtime.policy.clone()));
        let (ready_sender, ready) = watch::channel(false);
        let readiness = tokio::spawn(report_ready(runtime.policy.clone(), caught_up, ready_sender));
        let policy = runtime.policy.clone();
        let audit = Arc::new(quintile_rpc::audit::Nowhere);
        let server = ServiceServer { listener: self.listener, policy, audit, routes, names, ready };
        let ended = server::serve(self.shared, server).await;
        follower.abort();
        readiness.abort();
        Ok(ended?)
    }
}

async fn report_ready(policy: PolicyHandle, mut caught_up: watch::Receiver<bool>, ready: watch::Sender<bool>) {
    while policy.in_force().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_for_true(&mut caught_up).await;
    ready.send_replace(true);
    ready.closed().await;
}
