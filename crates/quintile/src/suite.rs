//! The suite: the chosen services in this process, from the binding of their sockets to the end of the last call.

use crate::config::{Config, Role};
use crate::data_dir::{DataDir, database_url, own_host};
use crate::telemetry::observe_calls;
use crate::{clock, remote};
use anyhow::Context;
use quintile_access_control::AccessControl;
use quintile_chain::context::{Peers, ServiceContext};
use quintile_domain::entropy::Entropy;
use quintile_domain::time::Instant;
use quintile_lifecycle::endpoints::Endpoints;
use quintile_rpc::client::{Channel, Credentials, channel};
use quintile_rpc::server::Shared;
use quintile_segmentation::History;
use quintile_store::sealing::KeyEncryption;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The issuer that our own tokens name.
const ISSUER: &str = "quintile";

/// The running services.
pub struct Suite {
    /// The URLs of the services of this process.
    pub endpoints: BTreeMap<&'static str, String>,
    services: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    data_dir: DataDir,
}

struct Secrets {
    keys: Arc<dyn KeyEncryption>,
    bootstrap: Arc<str>,
    endpoints: Endpoints,
    history: History,
    entropy: Entropy,
}

impl Suite {
    /// Starts services and waits until all of them answer.
    pub async fn start(config: &Config, roles: &[Role]) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(config)?;
        data_dir.remove_endpoints();
        let entropy = clock::entropy()?;
        let secrets = Secrets {
            keys: Arc::new(data_dir.master_keys(config, &entropy)?),
            bootstrap: data_dir.bootstrap_secret(config, &entropy)?.into(),
            endpoints: config.endpoints(roles)?,
            history: config.history.history()?,
            entropy,
        };
        let as_of = config.frozen_at()?;
        if let Some(as_of) = as_of {
            tracing::warn!(%as_of, "BUSINESS TIME IS FROZEN: nothing ages until it is moved by SetAsOf");
        }
        let (listeners, endpoints) = bind(config, roles).await?;
        let channels = channels(config, &endpoints)?;
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            settings: config.server.clone(),
            clock: clock::machine(),
            permits: Arc::new(Semaphore::new(config.server.max_concurrent_calls)),
            stop: stopping,
        };
        observe_calls(&shared.permits, config.server.max_concurrent_calls);
        let mut services = JoinSet::new();
        for (role, listener) in listeners {
            spawn(&mut services, role, listener, config, &secrets, as_of, &shared, &channels);
        }
        let mut suite = Self { endpoints, services, stop, data_dir };
        suite.wait_until_serving(config).await?;
        suite.data_dir.note_databases(config, roles)?;
        suite.data_dir.write_endpoints(&suite.endpoints)?;
        Ok(suite)
    }

    async fn wait_until_serving(&mut self, config: &Config) -> anyhow::Result<()> {
        let endpoints: Vec<String> = self.endpoints.values().cloned().collect();
        let tls = config.server.tls.clone();
        let serving = async move {
            for endpoint in endpoints {
                remote::wait_until_serving(&channel(&endpoint, tls.as_ref()).map_err(anyhow::Error::msg)?).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            serving = serving => serving,
            Some(ended) = self.services.join_next() => {
                ended??;
                anyhow::bail!("a service ended before it served")
            }
        }
    }

    /// Waits until a service fails, or for ever.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.services.join_next().await {
            Some(Ok(Ok(()))) => anyhow::anyhow!("a service ended"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            None => anyhow::anyhow!("there is no service"),
        }
    }

    /// Drains and stops all services.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.data_dir.remove_endpoints();
        self.stop.send_replace(true);
        while let Some(ended) = self.services.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn bind(
    config: &Config,
    roles: &[Role],
) -> anyhow::Result<(Vec<(Role, TcpListener)>, BTreeMap<&'static str, String>)> {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let mut listeners = Vec::new();
    let mut endpoints = BTreeMap::new();
    for role in roles {
        let address = format!("{}:{}", config.listen.host, config.port(*role));
        let listener = TcpListener::bind(&address).await.with_context(|| format!("cannot listen on {address}"))?;
        let port = listener.local_addr()?.port();
        endpoints.insert(role.key(), format!("{scheme}://{}:{port}", own_host(config)));
        listeners.push((*role, listener));
    }
    Ok((listeners, endpoints))
}

fn channels(config: &Config, endpoints: &BTreeMap<&'static str, String>) -> anyhow::Result<HashMap<Role, Channel>> {
    let mut channels = HashMap::new();
    for role in Role::ALL {
        let url = match endpoints.get(role.key()) {
            Some(own) => own.clone(),
            None => config
                .peer(role)
                .with_context(|| {
                    format!("{} runs in another process: peers.{} must say where", role.key(), role.key())
                })?
                .to_owned(),
        };
        let channel = channel(&url, config.server.tls.as_ref()).map_err(anyhow::Error::msg)?;
        channels.insert(role, channel);
    }
    Ok(channels)
}

#[expect(clippy::too_many_arguments, reason = "the one place where everything meets")]
fn spawn(
    services: &mut JoinSet<anyhow::Result<()>>,
    role: Role,
    listener: TcpListener,
    config: &Config,
    secrets: &Secrets,
    as_of: Option<Instant>,
    shared: &Shared,
    channels: &HashMap<Role, Channel>,
) {
    let database = database_url(config);
    let access = channels[&Role::AccessControl].clone();
    let instance: Arc<str> = match &config.database_url {
        // The directory's lock makes this process the only one.
        None => "embedded".into(),
        Some(_) => format!("{:032x}", u128::from_be_bytes(secrets.entropy.bytes())).into(),
    };
    if role == Role::AccessControl {
        let service = AccessControl {
            shared: shared.clone(),
            listener,
            database,
            keys: secrets.keys.clone(),
            instance,
            entropy: secrets.entropy.clone(),
            bootstrap_secret: secrets.bootstrap.clone(),
            issuer: ISSUER.to_owned(),
        };
        services.spawn(async move { Ok(service.serve().await?) });
        return;
    }
    let context = ServiceContext {
        shared: shared.clone(),
        listener,
        database,
        keys: secrets.keys.clone(),
        entropy: secrets.entropy.clone(),
        business: clock::business(as_of),
        credentials: Credentials::new(role.service(), &secrets.bootstrap, access.clone()),
        peers: Peers {
            ingestion: channels[&Role::Ingestion].clone(),
            scoring: channels[&Role::Scoring].clone(),
            lifecycle: channels[&Role::Lifecycle].clone(),
            segmentation: channels[&Role::Segmentation].clone(),
            access,
        },
        instance,
    };
    let (endpoints, history) = (secrets.endpoints.clone(), secrets.history);
    services.spawn(async move {
        match role {
            Role::Ingestion => quintile_ingestion::serve(context).await?,
            Role::Scoring => quintile_scoring::serve(context).await?,
            Role::Lifecycle => quintile_lifecycle::serve(context, endpoints).await?,
            Role::Segmentation => quintile_segmentation::serve(context, history).await?,
            Role::AccessControl => {}
        }
        Ok(())
    });
}

/// The names of the migrations of a service's schema, in order, as this version knows them.
pub fn migrations(role: Role) -> Vec<String> {
    match role {
        Role::Ingestion => quintile_ingestion::migrations(),
        Role::Scoring => quintile_scoring::migrations(),
        Role::Lifecycle => quintile_lifecycle::migrations(),
        Role::Segmentation => quintile_segmentation::migrations(),
        Role::AccessControl => quintile_access_control::migrations(),
    }
}

/// Brings the schemas of services up to date, and ends.
pub async fn migrate(config: &Config, roles: &[Role]) -> anyhow::Result<()> {
    let data_dir = DataDir::open(config)?;
    let url = database_url(config);
    for role in roles {
        match role {
            Role::Ingestion => drop(quintile_ingestion::migrate(&url).await?),
            Role::Scoring => drop(quintile_scoring::migrate(&url).await?),
            Role::Lifecycle => drop(quintile_lifecycle::migrate(&url).await?),
            Role::Segmentation => drop(quintile_segmentation::migrate(&url).await?),
            Role::AccessControl => drop(quintile_access_control::migrate(&url).await?),
        }
        quintile_audit::migrate(&url, role.service()).await?;
        say!("{}: schema up to date", role.key());
    }
    data_dir.note_databases(config, roles)
}
