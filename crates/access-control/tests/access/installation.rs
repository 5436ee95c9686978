//! An installation of access-control: a database, a clock that stands still, and the servers that are started over them.

use futures::future::join_all;
use quintile_access_control::{AccessControl, AccessControlError};
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::IssueTokenRequest;
use quintile_proto::access::policy_service_client::PolicyServiceClient;
use quintile_proto::access::tenant_service_client::TenantServiceClient;
use quintile_proto::access::token_service_client::TokenServiceClient;
use quintile_rpc::client::{AUTHORIZATION, channel};
use quintile_rpc::server::Shared;
use quintile_rpc::settings::ServerSettings;
use quintile_store::DatabaseUrl;
use quintile_store::sealing::Key;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sea_orm::ConnectionTrait;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::Channel;

/// The bootstrap secret of every installation.
pub const SECRET: &str = "a secret of thirty-two characters";
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Tells databases and sources of entropy apart, in all tests of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A database, and what all processes over it have in common.
pub struct Installation {
    /// Where the data is.
    pub database: DatabaseUrl,
    clock: Arc<AtomicI64>,
    master: Key,
    folder: Arc<TempDir>,
}

/// One process.
pub struct Process {
    /// A channel to it.
    pub channel: Channel,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<(), AccessControlError>>,
    // The data outlives the installation for as long as a process uses it.
    _folder: Arc<TempDir>,
}

fn entropy() -> Entropy {
    Entropy::new(StdRng::seed_from_u64(NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl Installation {
    /// An empty installation on SQLite.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            database: DatabaseUrl::SqliteFolder(folder.path().to_owned()),
            clock: Arc::new(AtomicI64::new(1_709_208_000_000_000)),
            master: Key::generate(&entropy()),
            folder: Arc::new(folder),
        }
    }

    /// An empty installation on SQLite, and where `QUINTILE_TEST_POSTGRES_URL` names a server, one on PostgreSQL.
    pub async fn on_every_database() -> Vec<Self> {
        let mut installations = vec![Self::new()];
        if let Ok(url) = std::env::var("QUINTILE_TEST_POSTGRES_URL") {
            let name = format!("access_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let server = sea_orm::Database::connect(&url).await.unwrap();
            server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
            let (server, _) = url.rsplit_once('/').unwrap();
            installations.push(Self { database: DatabaseUrl::Postgres(format!("{server}/{name}")), ..Self::new() });
        }
        installations
    }

    /// Starts a process.
    pub async fn start(&self) -> Process {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        let clock = self.clock.clone();
        let settings = ServerSettings::default();
        let service = AccessControl {
            shared: Shared {
                clock: MachineClock::new(Arc::new(move || Instant::from_micros(clock.load(Ordering::Relaxed)))),
                permits: Arc::new(Semaphore::new(settings.max_concurrent_calls)),
                settings,
                stop: stopped,
            },
            listener,
            database: self.database.clone(),
            master: self.master.clone(),
            entropy: entropy(),
            bootstrap_secret: SECRET.into(),
            issuer: "https://access.test".to_owned(),
        };
        Process {
            channel: channel(&url, None).unwrap(),
            stop,
            serving: tokio::spawn(async move {
                // The clients of a process that ends learn no more than that.
                service.serve().await.inspect_err(|error| eprintln!("{error}"))
            }),
            _folder: self.folder.clone(),
        }
    }

    /// Starts several processes at once.
    pub async fn start_several(&self, count: usize) -> Vec<Process> {
        if let DatabaseUrl::SqliteFolder(_) = self.database {
            // SQLite serves one process; two that make its file at once find it locked, whatever they are ready to wait.
            quintile_access_control::migrate(&self.database).await.unwrap();
        }
        join_all((0..count).map(|_| self.start())).await
    }

    /// Moves machine time.
    pub fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Process {
    /// A client of tokens.
    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    /// A client of tenants.
    pub fn tenants(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.channel.clone())
    }

    /// A client of policies.
    pub fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone())
    }

    /// A token of a role, for the bootstrap secret.
    pub async fn token(&self, role: &str, tenant: &str) -> String {
        self.tokens().issue_token(by_secret(role, tenant)).await.unwrap().into_inner().token
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it stops in time").unwrap().unwrap();
    }

    /// Tells it to stop.
    pub fn begin_to_stop(&self) {
        self.stop.send(true).unwrap();
    }
}

/// A request for a token of a role, by the bootstrap secret.
pub fn by_secret(role: &str, tenant: &str) -> IssueTokenRequest {
    IssueTokenRequest {
        bootstrap_secret: SECRET.to_owned(),
        role: role.to_owned(),
        tenant: tenant.to_owned(),
        ..IssueTokenRequest::default()
    }
}

/// A request that carries a token.
pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    request
}
