//! A server's life: boot, serve, drain.

use crate::audit::AuditSink;
use crate::edge::Edge;
use crate::issuer_keys::IssuerKeys;
use crate::policy_handle::PolicyHandle;
use crate::settings::{ServerSettings, TlsSettings};
use quintile_domain::clock::MachineClock;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// HTTP/2 windows: large enough that a stream of batches is not kept waiting.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The most bytes of headers of one request.
const HEADER_BYTES: u32 = 32 * 1024;

/// Why a server does not run.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A file of the TLS settings is not usable.
    #[error("{0}")]
    Tls(String),
    /// The transport failed.
    #[error("transport: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection could not be built.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What the servers of one process share.
#[derive(Clone)]
pub struct Shared {
    /// Limits and transport.
    pub settings: ServerSettings,
    /// Machine time.
    pub clock: MachineClock,
    /// The calls that the process works on.
    pub permits: Arc<Semaphore>,
    /// Turns true when the process is told to stop.
    pub stop: watch::Receiver<bool>,
}

/// One service's server.
pub struct ServiceServer {
    /// The socket that it listens on.
    pub listener: TcpListener,
    /// The policy that it decides by.
    pub policy: PolicyHandle,
    /// Where it has new keys of external issuers looked for.
    pub issuer_keys: Arc<dyn IssuerKeys>,
    /// Where it writes down who was shown what, and who changed what.
    pub audit: Arc<dyn AuditSink>,
    /// Its gRPC services.
    pub routes: Routes,
    /// Their names, for health.
    pub names: Vec<&'static str>,
    /// Turns true when it can answer: migrated, with a policy, caught up enough.
    pub ready: watch::Receiver<bool>,
}

/// Serves until the process is told to stop, then drains: health says so at once, calls may finish within the bound.
pub async fn serve(shared: Shared, server: ServiceServer) -> Result<(), ServerError> {
    let settings = &shared.settings;
    let (reporter, health) = tonic_health::server::health_reporter();
    set_health(&reporter, &server.names, ServingStatus::NotServing).await;
    let routes = server
        .routes
        .add_service(health)
        .add_service(reflection(&server.names).build_v1()?)
        .add_service(reflection(&server.names).build_v1alpha()?);
    let edge = Edge::new(server.policy, &shared, server.audit, server.issuer_keys);
    let mut builder = Server::builder();
    if let Some(tls) = &settings.tls {
        builder = builder.tls_config(server_tls(tls)?)?;
    }
    // The listener's own sockets need it set, since the builder's option covers only those that it binds itself.
    let incoming = tokio_stream::StreamExt::map(TcpListenerStream::new(server.listener), |socket| {
        socket.inspect(|socket| {
            // A socket that is gone already fails at its first read.
            let _ = socket.set_nodelay(true);
        })
    });
    let (draining, drained) = watch::channel(false);
    let watcher = tokio::spawn(report_health(reporter, server.names, server.ready, shared.stop.clone(), draining));
    let mut bound = shared.stop.clone();
    let drain = Duration::from_secs(settings.drain_seconds);
    let serving = builder
        .layer(edge)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(settings.max_streams_per_connection)
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, becomes_true(drained));
    tokio::select! {
        ended = serving => ended?,
        () = async { wait_for_true(&mut bound).await; tokio::time::sleep(drain).await } => {
            tracing::warn!("calls that were still open after the drain's bound were cut off");
        }
    }
    watcher.abort();
    Ok(())
}

async fn report_health(
    reporter: HealthReporter,
    names: Vec<&'static str>,
    mut ready: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
    draining: watch::Sender<bool>,
) {
    loop {
        let serving = *ready.borrow_and_update();
        set_health(&reporter, &names, if serving { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        tokio::select! {
            changed = ready.changed() => if changed.is_err() { break },
            () = wait_for_true(&mut stop) => break,
        }
    }
    set_health(&reporter, &names, ServingStatus::NotServing).await;
    wait_for_true(&mut stop).await;
    draining.send_replace(true);
}

async fn set_health(reporter: &HealthReporter, names: &[&str], status: ServingStatus) {
    reporter.set_service_status("", status).await;
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}

/// Ends when the value is true, or when nobody can set it any more.
pub async fn wait_for_true(value: &mut watch::Receiver<bool>) {
    // An error says that nobody can set it any more.
    let _ = value.wait_for(|set| *set).await;
}

async fn becomes_true(mut value: watch::Receiver<bool>) {
    wait_for_true(&mut value).await;
}

/// Reflection of the services of this server, by the descriptors of all: messages are shared.
fn reflection(names: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(quintile_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}

fn server_tls(tls: &TlsSettings) -> Result<ServerTlsConfig, ServerError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| ServerError::Tls(format!("{}: {error}", path.display())))
    };
    let identity = Identity::from_pem(read(&tls.certificate_file)?, read(&tls.key_file)?);
    let config = ServerTlsConfig::new().identity(identity);
    Ok(if tls.require_client_certificate {
        config.client_ca_root(Certificate::from_pem(read(&tls.authority_file)?))
    } else {
        config
    })
}
