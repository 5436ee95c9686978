//! Everything that is counted and measured: the list of all metrics, which the reference, the dashboards and the alerts are checked by.
//!
//! Those of RPCs are named as OpenTelemetry's conventions have it; what is the suite's own begins with `quintile.`. Series are bounded: names of methods
//! are those of the contracts, segments the largest, tenants the first hundred, and of what is counted by name there are at most 2,000 series of a metric.

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};
use std::fmt::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The most tenants of whom the state is told one by one.
pub const MAX_TENANTS: usize = 100;

/// Bounds of durations in seconds, as the conventions have them, and longer ones for streams.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What only grows.
    Counter,
    /// How it is now.
    Gauge,
    /// How often what came how large.
    Histogram,
}

impl Kind {
    /// Its name in Prometheus' text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name in OpenTelemetry.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its unit in UCUM: `s`, `By`, or what is counted in braces.
    pub unit: &'static str,
    /// What its series differ by.
    pub attributes: &'static [&'static str],
    /// What it tells.
    pub description: &'static str,
}

const CALL: &[&str] = &["rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"];

/// How long calls took that were answered.
pub const SERVER_CALL_DURATION: Metric = Metric {
    name: "rpc.server.call.duration",
    kind: Kind::Histogram,
    unit: "s",
    attributes: CALL,
    description: "How long calls took, from their headers to their status: a stream as long as it was open.",
};
/// How long calls of other services took.
pub const CLIENT_CALL_DURATION: Metric = Metric {
    name: "rpc.client.call.duration",
    kind: Kind::Histogram,
    unit: "s",
    attributes: CALL,
    description: "How long calls of other services of the suite took, waiting for a connection included.",
};
/// Calls in work.
pub const CALLS_IN_PROGRESS: Metric = Metric {
    name: "quintile.calls.in_progress",
    kind: Kind::Gauge,
    unit: "{call}",
    attributes: &[],
    description: "Calls that the process works on: of streams until they are open.",
};
/// How many calls may be in work.
pub const CALLS_LIMIT: Metric = Metric {
    name: "quintile.calls.limit",
    kind: Kind::Gauge,
    unit: "{call}",
    attributes: &[],
    description: "Calls that the process works on at most: server.max_concurrent_calls.",
};
/// Calls that were shed.
pub const CALLS_SHED: Metric = Metric {
    name: "quintile.calls.shed",
    kind: Kind::Counter,
    unit: "{call}",
    attributes: &[],
    description: "Calls that were refused because the process worked on as many as it may.",
};
/// What became of rows.
pub const INTAKE_ROWS: Metric = Metric {
    name: "quintile.intake.rows",
    kind: Kind::Counter,
    unit: "{row}",
    attributes: &["tenant", "outcome"],
    description: "Rows of batches that were acknowledged: applied, duplicate or rejected.",
};
/// Batches that wait.
pub const INTAKE_QUEUE_DEPTH: Metric = Metric {
    name: "quintile.intake.queue.depth",
    kind: Kind::Gauge,
    unit: "{batch}",
    attributes: &["tenant"],
    description: "Batches that wait for the group commit; 64 at most, and then those who bring more wait.",
};
/// How far those who follow are behind.
pub const FEED_LAG: Metric = Metric {
    name: "quintile.feed.lag",
    kind: Kind::Gauge,
    unit: "{commit}",
    attributes: &["feed", "consumer", "tenant"],
    description: "Commits of a feed that a consumer has not been sent yet; of the feed of facts, those that features do not have yet. \
                  Of several streams of a consumer, the one that is furthest behind.",
};
/// How old the watermark is.
pub const WATERMARK_AGE: Metric = Metric {
    name: "quintile.watermark.age",
    kind: Kind::Gauge,
    unit: "s",
    attributes: &["quintile.service", "tenant"],
    description: "Business time since the instant up to which what a service answers is true, where it does the work of the tenant.",
};
/// The position of the watermark.
pub const WATERMARK_POSITION: Metric = Metric {
    name: "quintile.watermark.position",
    kind: Kind::Gauge,
    unit: "{commit}",
    attributes: &["quintile.service", "tenant"],
    description: "The position of facts that a service has taken in, where it does the work of the tenant.",
};
/// Who works.
pub const LEASE_HELD: Metric = Metric {
    name: "quintile.lease.held",
    kind: Kind::Gauge,
    unit: "{lease}",
    attributes: &["worker", "tenant"],
    description: "1 where the process holds the lease of a tenant's worker, 0 where it does not.",
};
/// Workers that failed.
pub const WORKER_FAILURES: Metric = Metric {
    name: "quintile.worker.failures",
    kind: Kind::Counter,
    unit: "{failure}",
    attributes: &["worker"],
    description: "Times that a worker stopped by a failure and was started again.",
};
/// Live definitions.
pub const SEGMENTS: Metric = Metric {
    name: "quintile.segments",
    kind: Kind::Gauge,
    unit: "{segment}",
    attributes: &["tenant"],
    description: "Segments and labels that are live, those beyond the 100 largest included.",
};
/// How many are in segments.
pub const SEGMENT_MEMBERS: Metric = Metric {
    name: "quintile.segment.members",
    kind: Kind::Gauge,
    unit: "{customer}",
    attributes: &["tenant", "segment"],
    description: "Members of segments and labels: of the 100 largest of a tenant, counted once in 15 seconds.",
};
/// Enters and exits.
pub const MEMBERSHIP_CHANGES: Metric = Metric {
    name: "quintile.membership.changes",
    kind: Kind::Counter,
    unit: "{change}",
    attributes: &["tenant", "change"],
    description: "Enters and exits of segments and labels: enter or exit.",
};
/// Fields that were masked.
pub const MASKED_FIELDS: Metric = Metric {
    name: "quintile.masked.fields",
    kind: Kind::Counter,
    unit: "{field}",
    attributes: &["class", "caller.role"],
    description: "Classified fields of answers that were shown in another form than in clear, or not at all.",
};
/// What became of deliveries.
pub const DELIVERIES: Metric = Metric {
    name: "quintile.deliveries",
    kind: Kind::Counter,
    unit: "{attempt}",
    attributes: &["kind", "outcome"],
    description: "Attempts at deliveries of playbooks: delivered, retried, withdrawn, or failed, which is not tried again.",
};
/// Memory.
pub const MEMORY: Metric = Metric {
    name: "process.memory.usage",
    kind: Kind::Gauge,
    unit: "By",
    attributes: &[],
    description: "Physical memory of the process.",
};
/// Room of the data directory.
pub const DISK_FREE: Metric = Metric {
    name: "quintile.disk.free",
    kind: Kind::Gauge,
    unit: "By",
    attributes: &[],
    description: "Room that is left where the data directory is.",
};
/// Room of the data directory, taken or not.
pub const DISK_SIZE: Metric = Metric {
    name: "quintile.disk.size",
    kind: Kind::Gauge,
    unit: "By",
    attributes: &[],
    description: "The size of the file system where the data directory is.",
};

/// All metrics.
pub const ALL: [&Metric; 20] = [
    &SERVER_CALL_DURATION,
    &CLIENT_CALL_DURATION,
    &CALLS_IN_PROGRESS,
    &CALLS_LIMIT,
    &CALLS_SHED,
    &INTAKE_ROWS,
    &INTAKE_QUEUE_DEPTH,
    &FEED_LAG,
    &WATERMARK_AGE,
    &WATERMARK_POSITION,
    &LEASE_HELD,
    &WORKER_FAILURES,
    &SEGMENTS,
    &SEGMENT_MEMBERS,
    &MEMBERSHIP_CHANGES,
    &MASKED_FIELDS,
    &DELIVERIES,
    &MEMORY,
    &DISK_FREE,
    &DISK_SIZE,
];

/// Whether anybody can read metrics: what looks things up for them alone need not otherwise.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Says that metrics are told from now on.
pub(super) fn tell() {
    TOLD.store(true, Ordering::Relaxed);
}

/// Whether metrics are told.
pub fn are_told() -> bool {
    TOLD.load(Ordering::Relaxed)
}

fn meter() -> Meter {
    global::meter("quintile")
}

impl Metric {
    /// The instrument of a counter. Keep it: making one is slow. Made before metrics are set up, it counts nothing for ever.
    pub fn counter(&self) -> Counter<u64> {
        meter().u64_counter(self.name).with_unit(self.unit).with_description(self.description).build()
    }

    /// The instrument of a histogram of seconds, to be kept like a counter's.
    pub fn histogram(&self) -> Histogram<f64> {
        let meter = meter();
        let histogram = meter.f64_histogram(self.name).with_unit(self.unit).with_description(self.description);
        histogram.with_boundaries(SECONDS.to_vec()).build()
    }

    /// Has a gauge read when it is asked for: `read` calls what it is given with every value and its attributes. It must not wait for anything.
    pub fn observe(&self, read: impl Fn(&dyn Fn(f64, &[KeyValue])) + Send + Sync + 'static) {
        let meter = meter();
        let gauge = meter.f64_observable_gauge(self.name).with_unit(self.unit).with_description(self.description);
        let gauge = gauge.with_callback(move |observer| {
            read(&|value: f64, attributes: &[KeyValue]| observer.observe(value, attributes));
        });
        // The provider keeps what is asked, for as long as the process runs.
        let _kept_there = gauge.build();
    }

    /// The name in Prometheus' text format, without what histograms append.
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }
}

/// Counts the fields of an answer that were masked for a role, by class.
pub(crate) fn count_masked(role: &str, shown: &quintile_domain::masking::Shown) {
    static MASKED: LazyLock<Counter<u64>> = LazyLock::new(|| MASKED_FIELDS.counter());
    for (class, fields) in shown.masked() {
        let role = KeyValue::new("caller.role", role.to_owned());
        MASKED.add(fields.into(), &[KeyValue::new("class", class.name()), role]);
    }
}

/// The reference of all metrics in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nA process tells these in Prometheus' text format at `GET /metrics` of `telemetry.metrics_address`; a role's process, those of its role. \
         Prometheus writes attributes with `_` for `.`. This page is made by `quintile config metrics`.\n\n\
         | metric | in Prometheus | type | unit | attributes | meaning |\n|---|---|---|---|---|---|\n",
    );
    for metric in ALL {
        let Metric { name, kind, unit, attributes, description } = metric;
        let attributes = attributes.iter().map(|attribute| format!("`{attribute}`")).collect::<Vec<_>>().join(", ");
        let (kind, exported) = (kind.name(), metric.prometheus_name());
        // Writing to a String does not fail.
        let _ = writeln!(text, "| `{name}` | `{exported}` | {kind} | `{unit}` | {attributes} | {description} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_metric_has_a_name_of_its_own_in_both_worlds() {
        let names: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
        let exported: HashSet<_> = ALL.iter().map(|metric| metric.prometheus_name()).collect();
        assert_eq!((names.len(), exported.len()), (ALL.len(), ALL.len()));
        assert!(exported.contains("rpc_server_call_duration_seconds"));
        assert!(exported.contains("quintile_intake_rows_total"));
    }

    #[test]
    fn the_printed_reference_is_the_one_in_the_repository() {
        let written = include_str!("../../../../METRICS.md");
        assert_eq!(written, reference(), "run `quintile config metrics > METRICS.md`");
    }
}
