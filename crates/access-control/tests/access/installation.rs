//! An installation of access-control: a database, a clock that stands still, and the servers that are started over them.

use futures::future::join_all;
use quintile_access_control::{AccessControl, AccessControlError};
use quintile_domain::clock::MachineClock;
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_proto::access::checkpoint_service_client::CheckpointServiceClient;
use quintile_proto::access::issuer_service_client::IssuerServiceClient;
use quintile_proto::access::master_key_service_client::MasterKeyServiceClient;
use quintile_proto::access::policy_service_client::PolicyServiceClient;
use quintile_proto::access::principal_service_client::PrincipalServiceClient;
use quintile_proto::access::revocation_service_client::RevocationServiceClient;
use quintile_proto::access::signing_key_service_client::SigningKeyServiceClient;
use quintile_proto::access::tenant_service_client::TenantServiceClient;
use quintile_proto::access::token_service_client::TokenServiceClient;
use quintile_proto::access::{GetPolicyRequest, IssueTokenRequest};
use quintile_rpc::client::{AUTHORIZATION, Channel, channel};
use quintile_rpc::server::Shared;
use quintile_rpc::settings::ServerSettings;
use quintile_store::DatabaseUrl;
use quintile_store::sealing::{Key, KeyEncryption, LocalKeys};
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
use tonic::{Code, Request};

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
    keys: Arc<dyn KeyEncryption>,
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

/// Randomness of its own.
pub fn entropy() -> Entropy {
    Entropy::new(StdRng::seed_from_u64(NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl Installation {
    /// An empty installation on SQLite.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            database: DatabaseUrl::SqliteFolder(folder.path().to_owned()),
            clock: Arc::new(AtomicI64::new(1_709_208_000_000_000)),
            keys: Arc::new(LocalKeys::from_text(&Key::generate(&entropy()).to_base64(), entropy()).unwrap()),
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

    /// The same under other master keys.
    pub fn with_keys(self, keys: Arc<dyn KeyEncryption>) -> Self {
        Self { keys, ..self }
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
            keys: self.keys.clone(),
            instance: format!("instance {}", NEXT.fetch_add(1, Ordering::Relaxed)).into(),
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

    /// Machine time, in seconds since 1970.
    pub fn now_seconds(&self) -> i64 {
        self.clock.load(Ordering::Relaxed) / 1_000_000
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

    /// A client of checkpoints.
    pub fn checkpoints(&self) -> CheckpointServiceClient<Channel> {
        CheckpointServiceClient::new(self.channel.clone())
    }

    /// A client of master keys.
    pub fn master_keys(&self) -> MasterKeyServiceClient<Channel> {
        MasterKeyServiceClient::new(self.channel.clone())
    }

    /// A client of policies.
    pub fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone())
    }

    /// A client of issuers.
    pub fn issuers(&self) -> IssuerServiceClient<Channel> {
        IssuerServiceClient::new(self.channel.clone())
    }

    /// A client of principals.
    pub fn principals(&self) -> PrincipalServiceClient<Channel> {
        PrincipalServiceClient::new(self.channel.clone())
    }

    /// A client of revocations.
    pub fn revocations(&self) -> RevocationServiceClient<Channel> {
        RevocationServiceClient::new(self.channel.clone())
    }

    /// A client of signing keys.
    pub fn signing_keys(&self) -> SigningKeyServiceClient<Channel> {
        SigningKeyServiceClient::new(self.channel.clone())
    }

    /// Whether a token is believed: it may or may not be allowed to read the policy.
    pub async fn believes(&self, token: &str) -> bool {
        let answer = self.policies().get_policy(with_token(token, GetPolicyRequest {})).await;
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        assert!(matches!(code, Code::Ok | Code::PermissionDenied | Code::Unauthenticated), "{code:?}");
        code != Code::Unauthenticated
    }

    /// A token of a role, for the bootstrap secret. With the role `service` it is one of the suite's services.
    pub async fn token(&self, role: &str, tenant: &str) -> String {
        let mut request = by_secret(role, tenant);
        if role == "service" {
            "suite:scoring".clone_into(&mut request.subject);
        }
        self.tokens().issue_token(request).await.unwrap().into_inner().token
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it stops in time").unwrap().unwrap();
    }

    /// Waits until it serves, tells it to stop, and waits until it has.
    pub async fn stop_once_it_serves(self) {
        self.token("admin", "").await;
        self.stop().await;
    }

    /// Waits until it fails by itself.
    pub async fn failure(self) -> AccessControlError {
        tokio::time::timeout(PATIENCE, self.serving).await.expect("it fails in time").unwrap().unwrap_err()
    }

    /// Tells it to stop.
    pub fn begin_to_stop(&self) {
        self.stop.send(true).unwrap();
    }
}

/// Waits until something holds, and gives up after [`PATIENCE`].
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect(what);
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
