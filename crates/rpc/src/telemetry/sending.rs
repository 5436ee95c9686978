//! Sending traces to a collector, by OTLP over gRPC.

use super::{TelemetrySettings, resource, traces};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// How long connecting, and sending a batch of spans, may take. Beyond it they are lost: the suite waits for no collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a process that stops waits for its last spans to be sent.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Traces that are sent until it is stopped. Spans wait for it in a queue of bounded length.
pub struct Sending(SdkTracerProvider);

impl Sending {
    /// Begins to send, if the settings say where to. Called once, within the runtime. `service` is what the process calls itself.
    pub fn start(settings: &TelemetrySettings, service: String) -> Result<Option<Self>, String> {
        let Some(url) = &settings.otlp_endpoint else { return Ok(None) };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| format!("telemetry.otlp_endpoint: {url} is not a URL"))?
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT);
        if url.starts_with("https://") {
            endpoint = endpoint.tls_config(tls(settings)?).map_err(|error| error.to_string())?;
        }
        let exporter = SpanExporter::builder().with_tonic().with_channel(endpoint.connect_lazy()).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.map_err(|error| error.to_string())?)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_ratio))))
            .with_resource(resource(service))
            .build();
        traces::start(provider.tracer("quintile"));
        Ok(Some(Self(provider)))
    }

    /// Sends the last spans, for a bounded time.
    pub async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_TIMEOUT)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!("the last traces were not sent");
        }
    }
}

fn tls(settings: &TelemetrySettings) -> Result<ClientTlsConfig, String> {
    let config = ClientTlsConfig::new();
    let Some(path) = &settings.otlp_authority_file else {
        return Ok(config.trust_anchors(webpki_roots::TLS_SERVER_ROOTS.to_vec()));
    };
    let authority = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(config.ca_certificate(Certificate::from_pem(authority)))
}
