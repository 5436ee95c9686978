//! What an operator can set of metrics and traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Metrics and traces. Without an address and an endpoint there are none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Where the process tells its metrics, in Prometheus' text format by `GET /metrics` in plain HTTP: an address with a port, such as
    /// `127.0.0.1:7710`. They hold nothing of anybody, but how much there is of everything: let in whoever scrapes them alone.
    pub metrics_address: Option<String>,
    /// The collector that traces are sent to, by OTLP over gRPC, such as `http://collector:4317`. `OTEL_EXPORTER_OTLP_ENDPOINT` says the same.
    pub otlp_endpoint: Option<String>,
    /// The authority that signs the collector's certificate, where the endpoint is `https`. Without it, Mozilla's.
    pub otlp_authority_file: Option<PathBuf>,
    /// The share of calls that are traced where the caller says nothing of it, 0 to 1. Whoever sends a `traceparent` decides for its own.
    pub trace_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { metrics_address: None, otlp_endpoint: None, otlp_authority_file: None, trace_ratio: 0.1 }
    }
}

impl TelemetrySettings {
    /// Refuses what nothing could be told by, with the name of the setting.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            return Err("telemetry.trace_ratio must be within 0 and 1".to_owned());
        }
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if !self.otlp_endpoint.as_ref().is_none_or(is_url) {
            return Err("telemetry.otlp_endpoint must be an http or https URL".to_owned());
        }
        let has_port = |address: &String| {
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !self.metrics_address.as_ref().is_none_or(has_port) {
            return Err("telemetry.metrics_address must be an address and a port, such as 127.0.0.1:7710".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_could_be_told_by_is_refused_by_name() {
        let settings = TelemetrySettings::default;
        assert_eq!(settings().check(), Ok(()));
        let fit = TelemetrySettings {
            metrics_address: Some("[::1]:0".to_owned()),
            otlp_endpoint: Some("https://collector:4317".to_owned()),
            trace_ratio: 1.0,
            ..settings()
        };
        assert_eq!(fit.check(), Ok(()));
        let wrong = [
            (TelemetrySettings { trace_ratio: 1.01, ..settings() }, "trace_ratio"),
            (TelemetrySettings { trace_ratio: f64::NAN, ..settings() }, "trace_ratio"),
            (TelemetrySettings { otlp_endpoint: Some("collector:4317".to_owned()), ..settings() }, "otlp_endpoint"),
            (TelemetrySettings { metrics_address: Some("7710".to_owned()), ..settings() }, "metrics_address"),
            (
                TelemetrySettings { metrics_address: Some("localhost:99999".to_owned()), ..settings() },
                "metrics_address",
            ),
        ];
        for (settings, name) in wrong {
            assert!(settings.check().is_err_and(|problem| problem.contains(name)), "{name}");
        }
    }
}
