//! What a process tells of itself: metrics, which whoever scrapes it reads, and traces, which are sent to a collector.
//!
//! Both are off until the binary sets them up, and then cost next to nothing. Neither carries a value of a customer: attributes are names of methods,
//! roles, tenants, feeds and segments, and classes, never what a request or an answer holds. Spans are made where this crate and the chain say so, and
//! nowhere else: those of `tracing`, which libraries make too, go into the log alone. To add a metric, add it to [`metrics::ALL`].

pub(crate) mod calls;
pub mod metrics;
pub mod scraping;
mod sending;
mod settings;
pub mod traces;

pub use sending::Sending;
pub use settings::TelemetrySettings;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// What a process says of itself to a collector and to whoever scrapes it: `service` is the role that it has, or `quintile` where it has several.
fn resource(service: String) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attributes([
            KeyValue::new("service.namespace", "quintile"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}
